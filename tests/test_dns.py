"""The names a worker looks up: how often the system is asked, how long an answer is good, and which address is tried.

No test can own the system's resolver. Where a name has to have certain addresses, or has to fail, the system's lookup
function is replaced by a table: in this process (`names`), or in a real worker as it starts (`system_names`). The
cache, the worker, the sockets and the servers are real.
"""

from __future__ import annotations

import json
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gevent
import pytest

from checker.limits import Caches, DnsLimits
from checker.metrics import CacheMeasures
from checker.probes.base import ProbeFailure
from checker.worker.transport import dns
from checker.worker.transport.dns import DnsCache
from fleets import Checked, Fleet, checked, rest_fleet
from servers import RestServer
from servers_faults import FaultServer

V4, V6 = socket.AF_INET, socket.AF_INET6


class Names:
    """A table in place of the system's lookup; counts what it is asked."""

    def __init__(self) -> None:
        self.table: dict[str, list[str]] = {}
        self.delay_s = 0.0
        self.asked: Counter[str] = Counter()

    def look_up(self, host: str, *_: Any, **__: Any) -> list[Any]:
        self.asked[host] += 1
        gevent.sleep(self.delay_s)
        if host not in self.table:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            (V6, socket.SOCK_STREAM, 6, "", (ip, 0, 0, 0)) if ":" in ip else (V4, socket.SOCK_STREAM, 6, "", (ip, 0))
            for ip in self.table[host]
        ]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    table = Names()
    monkeypatch.setattr(socket, "getaddrinfo", table.look_up)
    return table


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The cache's clock, which a test sets; Unix seconds."""
    set_by_test = SimpleNamespace(now_s=1_000_000.0)
    monkeypatch.setattr(dns, "time", SimpleNamespace(time=lambda: set_by_test.now_s))
    return set_by_test


def ips(cache: DnsCache, host: str) -> list[str]:
    return [address[0] for _, address in cache.addresses(host)]


def counted(cache: DnsCache) -> tuple[int, int, int]:
    measures = cache.measures()
    return measures.hits, measures.misses, measures.stale_hits


@pytest.mark.parametrize("enabled", [True, False])
def test_a_hundred_who_ask_at_once_share_one_lookup(names: Names, enabled: bool) -> None:
    names.table["a.example"], names.delay_s = ["192.0.2.1"], 0.02
    cache = DnsCache(DnsLimits(enabled=enabled))
    asking = [gevent.spawn(ips, cache, "a.example") for _ in range(100)]
    assert {tuple(one.get(timeout=10)) for one in asking} == {("192.0.2.1",)}
    assert names.asked == {"a.example": 1}
    assert counted(cache) == (99, 1, 0)


def test_a_hundred_who_ask_for_a_name_that_does_not_exist_share_one_lookup(names: Names) -> None:
    names.delay_s = 0.02
    cache = DnsCache(DnsLimits())
    asking = [gevent.spawn(pytest.raises, ProbeFailure, cache.addresses, "no.example") for _ in range(100)]
    gevent.joinall(asking, timeout=10, raise_error=True)
    assert names.asked == {"no.example": 1}


def test_who_is_killed_or_out_of_time_does_not_break_the_others(names: Names) -> None:
    names.table["a.example"], names.delay_s = ["192.0.2.1"], 0.1
    cache = DnsCache(DnsLimits())
    first, second, third = (gevent.spawn(ips, cache, "a.example") for _ in range(3))
    gevent.sleep(0)
    first.kill()  # the one that the lookup was begun for
    late = gevent.spawn(gevent.with_timeout, 0.01, ips, cache, "a.example", timeout_value="out of time")
    assert late.get(timeout=10) == "out of time"
    assert second.get(timeout=10) == third.get(timeout=10) == ["192.0.2.1"]
    assert names.asked == {"a.example": 1}


def test_what_a_slow_lookup_finds_is_kept_although_nobody_waited_for_it(names: Names) -> None:
    names.table["a.example"], names.delay_s = ["192.0.2.1"], 0.05
    cache = DnsCache(DnsLimits())
    impatient = gevent.spawn(gevent.with_timeout, 0.01, ips, cache, "a.example", timeout_value=[])
    assert impatient.get(timeout=10) == []
    with gevent.Timeout(10):
        while not cache.take_fresh():
            gevent.sleep(0.005)
    assert ips(cache, "a.example") == ["192.0.2.1"]
    assert names.asked == {"a.example": 1}


@pytest.mark.parametrize("host", ["a..b", "a" * 70 + ".example", "\ud800"])
def test_what_is_no_name_is_said_to_be_none(host: str) -> None:
    """By the system's own lookup."""
    with pytest.raises(ProbeFailure, match="not a valid host name") as failure:
        DnsCache(DnsLimits()).addresses(host)
    assert failure.value.reason == "dns"


def test_name_that_was_not_found_is_not_looked_up_again_for_a_while(names: Names, clock: SimpleNamespace) -> None:
    cache = DnsCache(DnsLimits(negative_ttl=5.0))
    for now_s, asked in ((0, 1), (4.9, 1), (5.1, 2)):
        clock.now_s = 1_000_000.0 + now_s
        with pytest.raises(ProbeFailure, match="Name or service not known"):
            cache.addresses("a.example")
        assert names.asked["a.example"] == asked
    names.table["a.example"] = ["192.0.2.1"]
    clock.now_s += 5.1
    assert ips(cache, "a.example") == ["192.0.2.1"]


@pytest.mark.parametrize(("after_s", "fewest", "most"), [(53.9, 0, 0), (60.0, 350, 650), (66.1, 1000, 1000)])
def test_answers_are_good_for_their_time_give_or_take_a_tenth(
    names: Names, clock: SimpleNamespace, after_s: float, fewest: int, most: int
) -> None:
    names.table = {f"h{number}.example": ["192.0.2.1"] for number in range(1000)}
    cache = DnsCache(DnsLimits(ttl=60.0))
    for host in names.table:
        cache.addresses(host)
    clock.now_s += after_s
    for host in names.table:
        cache.addresses(host)
    assert fewest <= names.asked.total() - 1000 <= most


def test_old_addresses_serve_on_where_the_lookup_fails(names: Names, clock: SimpleNamespace) -> None:
    """The lookup that fails is not repeated for each check: it may take long, too."""
    names.table["a.example"] = ["192.0.2.1"]
    cache = DnsCache(DnsLimits(ttl=60.0, stale=600.0, negative_ttl=5.0))
    assert ips(cache, "a.example") == ["192.0.2.1"]
    names.table.clear()
    for now_s, asked, stale in ((67, 2, 1), (71, 2, 1), (73, 3, 2), (650, 4, 3)):
        clock.now_s = 1_000_000.0 + now_s
        assert ips(cache, "a.example") == ["192.0.2.1"]
        assert (names.asked["a.example"], cache.measures().stale_hits) == (asked, stale)
    clock.now_s = 1_000_000.0 + 667
    with pytest.raises(ProbeFailure):
        cache.addresses("a.example")
    names.table["a.example"] = ["192.0.2.2"]
    clock.now_s += 5.1
    assert ips(cache, "a.example") == ["192.0.2.2"]


def test_the_name_that_was_not_used_for_longest_goes_first(names: Names) -> None:
    names.table = {host: ["192.0.2.1"] for host in "abcd"}
    cache = DnsCache(DnsLimits(size=3))
    for host in "abcada":
        cache.addresses(host)
    assert (cache.measures().entries, cache.measures().evicted) == (3, 1)
    assert names.asked == dict.fromkeys("abcd", 1)
    cache.addresses("b")
    assert names.asked["b"] == 2, "it had to go for d"


def test_families_take_turns_and_the_first_one_is_the_systems(names: Names) -> None:
    names.table["six.example"] = ["2001:db8::1", "2001:db8::2", "2001:db8::1", "2001:db8::3", "192.0.2.1", "192.0.2.2"]
    names.table["four.example"] = ["192.0.2.1", "2001:db8::1"]
    cache = DnsCache(DnsLimits())
    assert ips(cache, "six.example") == ["2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2", "2001:db8::3"]
    assert ips(cache, "four.example") == ["192.0.2.1", "2001:db8::1"]


def test_address_that_answered_is_tried_first(names: Names) -> None:
    names.table["a.example"] = ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
    cache = DnsCache(DnsLimits())
    cache.addresses("a.example")
    cache.prefer("a.example", (V4, ("192.0.2.3", 0)))
    cache.prefer("a.example", (V4, ("198.51.100.1", 0)))  # not one of its addresses any more
    cache.prefer("b.example", (V4, ("192.0.2.1", 0)))
    assert ips(cache, "a.example") == ["192.0.2.3", "192.0.2.1", "192.0.2.2"]


def test_what_is_stored_comes_back(names: Names, clock: SimpleNamespace) -> None:
    names.table["a.example"] = ["192.0.2.1", "2001:db8::1"]
    cache, later = DnsCache(DnsLimits()), DnsCache(DnsLimits())
    cache.addresses("a.example")
    (entry,) = cache.take_fresh()
    assert cache.take_fresh() == []
    assert (entry.category, entry.key, entry.created_at_ms) == ("dns", "a.example", 1_000_000_000)
    assert 654_000 <= entry.expires_at_ms - entry.created_at_ms <= 666_000
    later.take_stored("a.example", entry.value)
    assert later.addresses("a.example") == cache.addresses("a.example")
    assert names.asked == {"a.example": 1}
    assert later.take_fresh() == [], "it is stored already"
    clock.now_s += 67
    assert ips(later, "a.example") == ["192.0.2.1", "2001:db8::1"]
    assert names.asked == {"a.example": 2}


def test_what_is_stored_serves_when_the_lookup_fails(names: Names, clock: SimpleNamespace) -> None:
    cache = DnsCache(DnsLimits())
    stored = {"good_until_s": clock.now_s - 100, "addresses": [[V4, ["192.0.2.1", 0]]]}
    cache.take_stored("a.example", json.dumps(stored))
    assert ips(cache, "a.example") == ["192.0.2.1"]
    assert names.asked == {"a.example": 1}


@pytest.mark.parametrize(
    "value", ["", "null", "[]", "{}", '{"good_until_s": 1}', '{"addresses": 1}', '{"addresses": [1]}']
)
def test_what_was_stored_otherwise_is_passed_over(names: Names, value: str) -> None:
    names.table["a.example"] = ["192.0.2.1"]
    cache = DnsCache(DnsLimits())
    cache.take_stored("a.example", value)
    assert ips(cache, "a.example") == ["192.0.2.1"]
    assert names.asked == {"a.example": 1}


def test_stored_addresses_do_not_replace_known_ones(names: Names, clock: SimpleNamespace) -> None:
    names.table["a.example"] = ["192.0.2.1"]
    cache = DnsCache(DnsLimits())
    cache.addresses("a.example")
    cache.take_stored("a.example", json.dumps({"good_until_s": clock.now_s + 9, "addresses": [[V4, ["192.0.2.9", 0]]]}))
    assert ips(cache, "a.example") == ["192.0.2.1"]


def test_nothing_is_kept_where_the_cache_is_off(names: Names, clock: SimpleNamespace) -> None:
    names.table["a.example"] = ["192.0.2.1"]
    cache = DnsCache(DnsLimits(enabled=False))
    cache.take_stored("a.example", json.dumps({"good_until_s": clock.now_s + 9, "addresses": [[V4, ["192.0.2.9", 0]]]}))
    for _ in range(3):
        assert ips(cache, "a.example") == ["192.0.2.1"]
    assert names.asked == {"a.example": 3}
    assert cache.take_fresh() == []
    assert cache.measures().entries == 0


# From here on in a real worker process.

_LOOK_UP = """
import _socket, json

with open({table!r}) as file:
    table = json.load(file)
real = _socket.getaddrinfo


def getaddrinfo(host, *rest, **named):
    name = host.decode() if isinstance(host, bytes) else host
    with open({asked!r}, "a") as file:
        file.write(name + "\\n")
    if name not in table:
        return real(host, *rest, **named)
    return [(_socket.AF_INET, _socket.SOCK_STREAM, 6, "", (ip, 0)) for ip in table[name]]


_socket.getaddrinfo = getaddrinfo
"""


@pytest.fixture
def system_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, list[str]]], Path]:
    """Replace the lookup of workers that start from now on; gives the file with a line for each name asked for."""

    def replace(table: dict[str, list[str]]) -> Path:
        named, asked = tmp_path / "names.json", tmp_path / "asked.txt"
        named.write_text(json.dumps(table))
        (tmp_path / "sitecustomize.py").write_text(_LOOK_UP.format(table=str(named), asked=str(asked)))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        return asked

    return replace


def dns_of(found: Checked) -> CacheMeasures:
    return next(cache for cache in found.report.caches if cache.category == "dns")


@contextmanager
def swallowing(ip: str, port: int) -> Iterator[None]:
    """An address that never answers: its queue of connections is full."""
    with socket.socket() as listener:
        listener.bind((ip, port))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex((ip, port))
        yield
        for one in waiting:
            one.close()


def test_worker_looks_a_real_name_up_once() -> None:
    with RestServer() as server:
        found = checked(rest_fleet([server.url().replace("127.0.0.1", "localhost")], 200), concurrency=50)
    assert set(found.reasons.values()) == {None}
    assert (dns_of(found).misses, dns_of(found).entries) == (1, 1)


def test_worker_asks_the_system_once_for_each_name(system_names: Callable[..., Path]) -> None:
    """A hundred servers of ten names, none of which keeps its connection."""
    asked = system_names({f"h{number}.example": ["127.0.0.1"] for number in range(10)})
    with Fleet(ok=10) as fleet:
        urls = [url.replace("127.0.0.1", f"h{number}.example") for number, url in enumerate(fleet.urls())]
        found = checked(rest_fleet(urls, 300), concurrency=100)
    assert set(found.reasons.values()) == {None}
    assert Counter(asked.read_text().split()) == {f"h{number}.example": 1 for number in range(10)}
    assert (dns_of(found).misses, dns_of(found).entries) == (10, 10)


def test_worker_without_cache_asks_for_each_connection(system_names: Callable[..., Path]) -> None:
    asked = system_names({"h.example": ["127.0.0.1"]})
    with Fleet(ok=20) as fleet:
        urls = [url.replace("127.0.0.1", "h.example") for url in fleet.urls()]
        found = checked(rest_fleet(urls), concurrency=1, caches=Caches(dns=DnsLimits(enabled=False)))
    assert set(found.reasons.values()) == {None}
    assert asked.read_text().split() == ["h.example"] * 20


@pytest.mark.parametrize("first", ["swallows", "refuses"])
def test_second_address_is_tried_after_a_quarter_of_a_second_and_first_from_then_on(
    system_names: Callable[..., Path], first: str
) -> None:
    """Three checks one after the other; the server keeps no connection."""
    asked = system_names({"two.example": ["127.0.0.2", "127.0.0.1"]})
    with ExitStack() as stack:
        server = stack.enter_context(FaultServer("ok"))
        if first == "swallows":
            stack.enter_context(swallowing("127.0.0.2", server.port))
        found = checked(rest_fleet([server.url(host="two.example")], 3, connect_timeout=1.0), concurrency=1)
    assert set(found.reasons.values()) == {None}
    assert server.connections == 3
    connects_us = [found.checks[name].probes[0].stages_us.get("connect", 0) for name in sorted(found.checks)]
    assert connects_us[0] < 1_000_000
    if first == "swallows":
        assert connects_us[0] >= 250_000, "the delay of RFC 8305"
        assert max(connects_us[1:]) < 250_000
    assert asked.read_text().split() == ["two.example"]


@pytest.mark.parametrize("order", [["127.0.0.2", "127.0.0.1"], ["127.0.0.1", "127.0.0.2", "2001:db8::1"]])
def test_of_several_addresses_the_failure_that_says_most_is_told(
    system_names: Callable[..., Path], order: list[str]
) -> None:
    system_names({"none.example": order})
    with Fleet(dead=1) as fleet:
        (port,) = fleet.ports["dead"]
        with swallowing("127.0.0.2", port):
            found = checked(rest_fleet([f"http://none.example:{port}/"], connect_timeout=0.4), concurrency=1)
    (check,) = found.checks.values()
    assert check.reason == "connect_refused"
    assert check.detail.startswith(f"127.0.0.1 port {port} refused the connection (no connection to 127.0.0.2")
    assert check.duration_us < 3_000_000
