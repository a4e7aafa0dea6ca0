"""The pure parts, by their invariants: events, judging, sharding."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from builders import probe, server
from checker.cache_keys import endpoint_key
from checker.judge import combine, judge
from checker.model import Combination, Priority, Reason, Server, Status
from checker.probes import probe_of
from checker.probes.base import Observation, ProbeFailure
from checker.probes.http import shown_url
from checker.probes.mcp import sse
from checker.probes.mcp.jsonrpc import find_reply
from checker.probes.mcp.options import McpOptions
from checker.probes.oauth.options import OAuth
from checker.probes.options import Retry, Tls
from checker.probes.rest import RestOptions
from checker.run.queue import shards
from checker.secrets.excerpts import excerpt
from checker.units import Secret

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**31), 2**31) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in itertools.pairwise(edges)]


_line = st.binary(max_size=8).map(lambda data: data.replace(b"\r", b"").replace(b"\n", b""))


@given(
    st.lists(st.lists(_line, min_size=1, max_size=3), max_size=4),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
    st.lists(st.integers(0, 300)),
)
def test_events_do_not_depend_on_how_the_stream_is_cut(events: list[list[bytes]], end: bytes, cuts: list[int]) -> None:
    stream = b"".join(b"".join(b"data: " + line + end for line in lines) + b"id: 7" + end + end for lines in events)
    wanted = [b"\n".join(lines) for lines in events if b"\n".join(lines).strip()]
    assert [data for _, data in sse.EventStream().events(pieces(stream, cuts))] == wanted
    assert [data for _, data in sse.EventStream().events([stream])] == wanted


def test_comments_empty_data_and_cut_off_events_are_passed_over() -> None:
    stream = b"\xef\xbb\xbf: hello\n\nid: 1\ndata:\n\ndata: a\ndata: b\n\ndataset: no\n\ndata: cut"
    events = sse.EventStream()
    assert list(events.events([stream])) == [(b"message", b"a\nb")]
    assert events.last_id == "1"


@given(json_values)
def test_no_json_value_breaks_the_reader_of_replies(value: Any) -> None:
    try:
        find_reply(value, 1)
    except ProbeFailure as failure:
        assert failure.reason is Reason.MCP_NOT_JSONRPC


@given(
    st.lists(st.tuples(st.sampled_from(Priority), st.integers(0, 5)), max_size=200),
    st.integers(1, 8),
)
def test_shards_hold_every_server_once_and_critical_ones_first(kinds: list[tuple[Priority, int]], workers: int) -> None:
    servers = [
        server(f"s{number}", priority=priority, probes={"rest": RestOptions(url=f"http://h{host}/")})
        for number, (priority, host) in enumerate(kinds)
    ]
    made = shards(servers, workers)
    assigned = [one for shard in made for one in shard.servers]
    assert sorted(one.name for one in assigned) == sorted(one.name for one in servers)
    critical = [one.priority is Priority.CRITICAL for one in assigned]
    assert critical == sorted(critical, reverse=True)
    assert all(0 < len(shard.servers) <= 50 for shard in made)
    fair = -(-len(servers) // workers)
    for host in {number for _, number in kinds}:
        of_host = [s for s in made if any(one.probes["rest"].url == f"http://h{host}/" for one in s.servers)]
        assert len(of_host) == 1 or len({(shard.home, shard.share) for shard in of_host}) == 1, "kept or spread whole"
        if sum(number == host for _, number in kinds) <= fair:
            assert len(of_host) == 1 or of_host[0].home is not None, "stays on one worker"
        else:
            assert of_host[0].share == workers


def test_low_priority_is_not_left_for_the_end() -> None:
    servers = [
        server(
            f"{priority}{number}", priority=priority, probes={"rest": RestOptions(url=f"http://{priority}{number}/")}
        )
        for priority in (Priority.LOW, Priority.NORMAL, Priority.HIGH)
        for number in range(400)
    ]
    order = [shard.servers[0].priority.value for shard in shards(servers, 2)]
    assert order[:7].count("high") == 4
    assert "low" in order[:8]


def test_servers_that_trust_on_first_use_are_not_spread_over_workers() -> None:
    for trusts, spread in ((True, False), (False, True)):
        oauth = OAuth(client_id="c", client_secret=Secret("s"), trust_on_first_use=trusts)
        servers = [server(f"s{n}", probes={"mcp": McpOptions(url="http://h/mcp", oauth=oauth)}) for n in range(40)]
        assert all((one.home is None) is spread for one in shards(servers, 4))


def test_origins_that_a_server_joins_stay_together() -> None:
    def both(name: str, mcp: str, rest: str) -> Server:
        probes = {"mcp": McpOptions(url=f"http://{mcp}/"), "rest": RestOptions(url=f"http://{rest}/")}
        return server(name, probes=probes)

    chained = [both("a", "one", "two"), both("b", "two", "three"), both("c", "four", "four")]
    others = [both(f"x{number}", f"x{number}", f"x{number}") for number in range(20)]
    homes = {one.name: shard for shard in shards([*chained, *others], 2, largest=1) for one in shard.servers}
    assert homes["a"].home == homes["b"].home is not None
    assert homes["c"].home is None


GOOD = probe("mcp")
HALF = probe("rest", status=Status.DEGRADED, score=0.5, reason=Reason.SLOW, detail="slow")
BAD = probe("rest", status=Status.UNHEALTHY, score=0.0, reason=Reason.HTTP_STATUS, detail="HTTP 500")
LOST = probe("mcp", status=Status.UNKNOWN, score=None, reason=Reason.WORKER_LOST, detail="lost")


@pytest.mark.parametrize(
    ("probes", "expected"),
    [
        ((GOOD,), ("HEALTHY", None, 1.0)),
        ((GOOD, GOOD), ("HEALTHY", None, 1.0)),
        ((GOOD, HALF), ("DEGRADED", "slow", 0.75)),
        ((GOOD, BAD), ("DEGRADED", "http_status", 0.5)),
        ((HALF, BAD), ("DEGRADED", "http_status", 0.25)),
        ((BAD, BAD), ("UNHEALTHY", "http_status", 0.0)),
        ((BAD,), ("UNHEALTHY", "http_status", 0.0)),
        ((LOST,), ("UNKNOWN", "worker_lost", None)),
        ((LOST, LOST), ("UNKNOWN", "worker_lost", None)),
        ((LOST, BAD), ("UNHEALTHY", "http_status", 0.0)),
        ((LOST, replace(GOOD, kind="rest")), ("HEALTHY", None, 1.0)),
    ],
)
def test_probes_combine_into_a_check(probes: Any, expected: Any) -> None:
    verdict, score = combine(probes, {}, Combination())
    assert (verdict.status, verdict.reason, score) == expected


def test_combination_and_weights_can_be_set() -> None:
    strict = Combination(one_bad=Status.UNHEALTHY)
    assert combine((GOOD, BAD), {}, strict)[0].status == "UNHEALTHY"
    assert combine((GOOD, BAD), {"mcp": 3, "rest": 1}, Combination())[1] == 0.75
    assert combine((GOOD, BAD), {"mcp": 0}, Combination())[1] == 0.0


@pytest.mark.parametrize("reason", Reason)
def test_every_failure_has_a_status(reason: Reason) -> None:
    seen = Observation(failure=ProbeFailure(reason, "why"))
    verdict = judge(probe_of("rest"), RestOptions(url="http://h/"), seen, 0, None)
    ours = {Reason.INTERNAL_ERROR, Reason.RESOURCE_LIMIT, Reason.WORKER_LOST, Reason.OWN_NETWORK}
    softer = {Reason.AUTH_REQUIRED, Reason.AUTH_SCOPE, Reason.ISSUER_NOT_TRUSTED, Reason.RATE_LIMITED}
    expected = Status.UNKNOWN if reason in ours else Status.DEGRADED if reason in softer else Status.UNHEALTHY
    assert (verdict.status, verdict.reason) == (expected, reason)


@given(st.integers(1, 12), st.floats(0, 1), st.floats(0, 1))
def test_backoff_grows_to_its_limit_and_keeps_within_its_jitter(failures: int, drawn: float, jitter: float) -> None:
    from checker.worker.attempts import backoff_s

    retry = Retry(initial_backoff=0.1, backoff_factor=2.0, max_backoff=5.0, jitter=jitter)
    middle = min(0.1 * 2.0 ** (failures - 1), 5.0)
    assert middle * (1 - jitter) - 1e-9 <= backoff_s(retry, failures, drawn) <= middle * (1 + jitter) + 1e-9


@given(st.text() | st.binary(), st.integers(2, 50))
def test_excerpt_is_one_short_printable_line(text: str | bytes, limit: int) -> None:
    shown = excerpt(text, limit)
    assert len(shown) <= limit
    assert shown.isprintable()


def test_addresses_are_shown_without_secrets() -> None:
    assert shown_url("https://me:pass@h:8/p?key=abc&flag#x") == "https://h:8/p?key=***&flag"
    assert endpoint_key("http://h/mcp") == "http://h/mcp"
    assert "abc" not in endpoint_key("http://h/mcp?key=abc")
    assert endpoint_key("http://me:abc@h/") != endpoint_key("http://me:abd@h/")


@given(
    st.from_regex(
        re.compile(r"https?://[a-z0-9.@\[\]:-]{1,12}(:[0-9]{1,6})?[/?#]?[!-~]{0,8}", re.ASCII), fullmatch=True
    ),
    st.booleans(),
)
def test_usual_address_has_no_fault_that_taking_it_apart_would_find(url: str, verified: bool) -> None:
    from checker.probes import option_validation

    options = RestOptions(url=url, tls=Tls(verify=verified))
    quick = list(option_validation.endpoint_faults(options))
    unusual = re.compile("(?!)")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(option_validation, "_USUAL_URL", unusual)
        assert quick == list(option_validation.endpoint_faults(options))
