"""REST requests under load: what real servers answer, and what each answer counts as."""

from __future__ import annotations

import socket
import ssl
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from checker.loadtest.plan import LoadLimits
from checker.loadtest.results import BenchRun
from checker.loadtest.summary import Summary, measured
from checker.probes.conditions import JsonCondition
from checker.probes.options import Tls
from checker.probes.rest import Expect
from loads import hold, mcp, of, played, rest, users
from servers import McpServer, RestServer, Scripted
from servers_faults import OK, FaultServer, certificates, closed_port

RATE, SECONDS = 20, 1.0
TIMEOUT_S, AMPLE_S = 1.0, 20.0
EVERY = round(RATE * SECONDS)

FAILS_WITH = {
    "silent": {"first_byte_timeout"},
    "drip_body": {"deadline"},
    "reset_before_head": {"connection_closed"},
    "reset_in_body": {"connection_closed"},
    "closed": {"connection_closed"},
    "garbage": {"http_malformed"},
    "short_body": {"connection_closed"},
    "broken_chunks": {"http_malformed"},
    "endless": {"body_too_large"},
}
"""Mode of the fault server -> reasons that all requests fail for."""
NEVER_END = ("silent", "drip_body")
"""Modes that nothing but the time limit ends; on a busy machine whatever ends by itself needs more time than that."""
MOST = 5
"""Most requests in flight where connections are counted: a busy machine lets more pile up than are due by the plan."""
SUCCEEDS = ("ok", "interim", "until_closed", "no_content", "tiny_segments", "gzip")

ANSWERS = {
    "moved": Scripted(status=302, headers={"Location": "/plain"}),
    "gone_elsewhere": Scripted(status=307, headers={"Location": "http://127.0.0.2:9/"}),
    "loop": Scripted(status=308, headers={"Location": "/loop"}),
    "plain": Scripted(),
    "slow": Scripted(delay_s=0.05),
    "error": Scripted(status=500),
    "busy": Scripted(status=429, headers={"Retry-After": "1"}),
    "down": Scripted(body=b'{"status": "DOWN"}'),
    "large": Scripted(body=b"x" * 300_000, headers={}),
}


@dataclass
class Played:
    """One play of everything side by side."""

    run: BenchRun
    server: RestServer

    def __getitem__(self, scenario: str) -> Summary:
        return of(self.run, scenario)

    def asked(self, scenario: str) -> list[tuple[str, str, dict[str, str], bytes]]:
        """Requests that came to the scenario's path."""
        return [one for one in self.server.requests if one[1] == f"/{scenario}"]


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    folder = tmp_path_factory.mktemp("certificates")
    contexts = certificates(folder)
    up = Expect(json=(JsonCondition(path="$.status", equals="UP"),))
    expects: dict[str, Any] = {"plain": up, "down": up, "error": Expect(), "busy": Expect()}
    with ExitStack() as stack:
        server = stack.enter_context(RestServer({f"/{name}": answer for name, answer in ANSWERS.items()}))
        faults = {mode: stack.enter_context(FaultServer(mode)) for mode in (*FAILS_WITH, *SUCCEEDS, "head")}
        secure = stack.enter_context(FaultServer("ok", contexts["good"]))
        expired = stack.enter_context(FaultServer("ok", contexts["expired"]))
        trust = Tls(ca_file=str(folder / "ca.pem"))
        servers = [
            *(rest(name, server.url(f"/{name}"), expect=expects.get(name, Expect())) for name in ANSWERS),
            *(rest(mode, fault.url(), method="HEAD" if mode == "head" else "GET") for mode, fault in faults.items()),
            rest("coded", faults["gzip"].url(), expect=up),
            rest("badly_coded", stack.enter_context(FaultServer("bad_gzip")).url(), expect=up),
            rest("posted", server.url("/posted"), method="POST", body='{"a": 1}', bearer="secret"),
            rest("refused", f"http://127.0.0.1:{closed_port()}/"),
            rest("secure", secure.url(host="localhost"), tls=trust),
            rest("expired", expired.url(), tls=trust),
        ]
        server.paths["/posted"] = Scripted()
        timeouts_s = dict.fromkeys(NEVER_END, TIMEOUT_S)
        most = {"plain": MOST}
        plans = {
            one.name: hold(
                RATE,
                SECONDS,
                servers=(one.name,),
                timeout=timeouts_s.get(one.name, AMPLE_S),
                max_in_flight=most.get(one.name, 1000),
            )
            for one in servers
        }
        run = played(servers, plans)
        yield Played(run, server)


def test_every_arrival_of_the_plan_is_a_request_at_the_server(everything: Played) -> None:
    assert everything["plain"].offered == len(everything.asked("plain")) - len(everything.asked("moved")) == EVERY
    assert everything["plain"].ok == EVERY


def test_whatever_comes_of_them_all_arrivals_are_accounted_for(everything: Played) -> None:
    for scenario in {one.scenario for one in everything.run.series}:
        summary = everything[scenario]
        assert summary.offered == summary.ok + summary.failed + summary.dropped == EVERY, scenario


@pytest.mark.parametrize("mode", FAILS_WITH)
def test_broken_replies_fail_for_their_reason(everything: Played, mode: str) -> None:
    assert set(everything[mode].reasons) == FAILS_WITH[mode]
    assert everything[mode].failed == EVERY


@pytest.mark.parametrize("mode", SUCCEEDS)
def test_replies_that_are_unusual_but_whole_succeed(everything: Played, mode: str) -> None:
    assert everything[mode].reasons == {}
    assert everything[mode].ok == EVERY


def test_a_reply_to_head_is_over_with_its_head(everything: Played) -> None:
    assert everything["head"].ok == EVERY


def test_a_status_that_is_not_accepted_fails_with_its_code(everything: Played) -> None:
    assert everything["error"].reasons == {"http_status 500": EVERY}


def test_a_reply_whose_body_breaks_a_condition_fails(everything: Played) -> None:
    assert everything["down"].reasons == {"condition_failed": EVERY}


def test_conditions_are_on_the_decoded_body(everything: Played) -> None:
    assert everything["coded"].ok == EVERY
    assert everything["badly_coded"].reasons == {"decode": EVERY}


def test_a_server_that_is_not_there_refuses(everything: Played) -> None:
    assert everything["refused"].reasons == {"connect_refused": EVERY}


def test_refusals_of_load_are_counted_apart(everything: Played) -> None:
    assert everything["busy"].refused == everything["busy"].failed == EVERY
    assert everything["error"].refused == 0


def test_redirects_are_followed_within_the_origin_alone(everything: Played) -> None:
    assert everything["moved"].ok == EVERY
    assert everything["gone_elsewhere"].reasons == everything["loop"].reasons == {"redirect_blocked": EVERY}


def test_timeouts_are_recorded_at_the_limit_and_marked(everything: Played) -> None:
    silent = everything["silent"]
    assert silent.censored == EVERY
    ended_us = silent.quantile_us(0.5, "failed_response") or 0
    assert 0.95 * TIMEOUT_S * 1e6 <= ended_us < 2 * TIMEOUT_S * 1e6, "a busy machine hears of it late"


def test_a_delay_of_the_server_is_in_its_latency(everything: Played) -> None:
    slow = everything["slow"]
    assert (slow.quantile_us(0.0) or 0) >= 50_000 * 0.99
    assert (slow.quantile_us(0.0, "first_byte") or 0) >= 50_000 * 0.99


def test_connections_are_kept(everything: Played) -> None:
    assert everything["plain"].connections <= MOST < EVERY / 2
    assert everything["closed"].connections == EVERY


def test_a_large_body_is_read_whole(everything: Played) -> None:
    assert everything["large"].received_bytes >= EVERY * 300_000


def test_a_body_and_credentials_are_sent_as_configured(everything: Played) -> None:
    method, _, headers, body = everything.asked("posted")[0]
    assert (method, body, headers["authorization"]) == ("POST", b'{"a": 1}', "Bearer secret")


def test_certificates_are_verified(everything: Played) -> None:
    assert everything["secure"].ok == EVERY
    assert everything["secure"].phases_us["tls"] > 0
    assert set(everything["expired"].reasons) == {"tls_expired"}


def test_phases_of_rest_add_up_to_the_service_time(everything: Played) -> None:
    slow = everything["slow"]
    mean_us = slow.mean_us("service") or 0
    assert sum(slow.phases_us.values()) / slow.ok == pytest.approx(mean_us, rel=0.02)


class _ShakesHandsLate:
    """A TLS context that takes its time before it answers."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context

    def wrap_socket(self, sock: socket.socket, *, server_side: bool) -> ssl.SSLSocket:
        time.sleep(0.3)
        return self._context.wrap_socket(sock, server_side=server_side)


def _answers_late(sock: socket.socket) -> None:
    time.sleep(0.7)  # samples are told more often than that
    sock.sendall(OK)


def test_phases_add_up_where_a_connection_opened_long_before_the_answer(tmp_path: Path) -> None:
    context: Any = _ShakesHandsLate(certificates(tmp_path)["good"])
    with FaultServer(_answers_late, context) as server:
        tls = Tls(ca_file=str(tmp_path / "ca.pem"))
        run = played([rest("a", server.url(host="localhost"), tls=tls)], {"a": hold(10, 2)})
    late = of(run, "a")
    assert (late.ok, late.connections, late.reasons) == (20, 20, {})
    assert late.phases_us["tls"] >= 20 * 300_000
    assert sum(late.phases_us.values()) / late.ok == pytest.approx(late.mean_us("service") or 0, rel=0.02)


class _HangsUp:
    """Answers one request on each connection, says that it is kept, and closes it."""

    def __call__(self, sock: socket.socket) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def test_a_kept_connection_that_the_server_closes_costs_no_request() -> None:
    with FaultServer(_HangsUp()) as server:
        run = played([rest("a", server.url())], {"a": hold(100, 0.5)})
    assert of(run, "a").reasons == {}
    assert of(run, "a").ok == 50
    assert of(run, "a").resent < 10, "an end that was seen before anything was sent is no resend"


class _Resets:
    """Answers the first request of each connection, and resets the connection when it has read the second."""

    def __init__(self) -> None:
        self.resets = 0

    def __call__(self, sock: socket.socket) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        if sock.recv(65536):
            self.resets += 1
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_request_that_is_sent_again_after_a_reset_is_counted(method: str) -> None:
    resets = _Resets()
    with FaultServer(resets) as server:
        run = played([rest("a", server.url(), method=method)], {"a": hold(40, 1)})
    summary = of(run, "a")
    assert summary.ok == 40
    assert summary.resent == resets.resets > 10


def test_workers_connect_to_addresses_that_were_allowed_and_to_no_others() -> None:
    with RestServer() as server, McpServer() as mcp_server:
        urls = {name: f"http://{name}:{server.port}/health" for name in ("Named.test.", "other.test")}
        servers = [
            *(rest(name, url) for name, url in urls.items()),
            mcp("mcp", f"http://named.test:{mcp_server.port}/mcp"),
        ]
        scenarios = {name: hold(20, 0.5, servers=(name,)) for name in urls}
        scenarios["mcp"] = hold(20, 0.5, operation="mcp_ping", servers=("mcp",))
        run = played(servers, scenarios, addresses={"named.test": ("127.0.0.1",)})
    assert of(run, "Named.test.").ok == of(run, "mcp").ok == 10
    assert of(run, "other.test").reasons == {"dns": 10}


def test_servers_of_a_scenario_take_turns() -> None:
    with RestServer() as server:
        names = [f"s{number}" for number in range(4)]
        run = played([rest(name, server.url()) for name in names], {"all": hold(80, 0.5)})
    assert {one.server for one in run.series} == set(names)
    assert sorted(slot.offered for slot in run.slots) == [10, 10, 10, 10]


def test_two_workers_share_the_arrivals() -> None:
    with RestServer() as server:
        run = played([rest("a", server.url())], {"a": hold(100, 1)}, workers=2)
    assert of(run, "a").offered == of(run, "a").ok == 100
    assert {second.worker for second in run.health} == {0, 1}


def test_users_wait_for_their_answers() -> None:
    with RestServer({"/health": Scripted(delay_s=0.1)}) as server:
        run = played([rest("a", server.url())], {"a": users(3, 1)})
    summary = of(run, "a")
    assert 18 <= summary.ok <= 33
    assert run.health[-1].in_flight <= 3


def test_users_think_between_requests() -> None:
    with RestServer() as server:
        run = played([rest("a", server.url())], {"a": users(2, 1, think_time=0.2)})
    assert 6 <= of(run, "a").ok <= 12


def test_users_keep_to_the_rates_of_the_plan() -> None:
    with RestServer() as server:
        servers = [rest("a", server.url()), rest("b", server.url())]
        scenarios = {"a": users(4, 1, servers=("a",)), "b": users(4, 1, servers=("b",))}
        by_rate = played(servers, scenarios, limits=LoadLimits(max_rate=60))
        by_host = played(servers, {"a": users(4, 1)}, limits=LoadLimits(per_host=30), workers=2)
    assert 50 <= sum(slot.offered for slot in by_rate.slots) <= 66
    assert 24 <= sum(slot.offered for slot in by_host.slots) <= 36


def test_arrivals_above_max_in_flight_wait_and_the_wait_is_latency() -> None:
    with RestServer({"/health": Scripted(delay_s=0.05)}) as server:
        run = played([rest("a", server.url())], {"a": hold(40, 1, max_in_flight=1, timeout=5)})
    summary = of(run, "a")
    assert summary.ok == 40
    # One after the other: the last waits for 39 others, of which a busy machine makes each as slow as itself.
    longest_us, typical_us = summary.quantile_us(1.0) or 0, summary.quantile_us(0.5, "service") or 0
    assert longest_us > 900_000
    assert 50_000 * 0.99 <= typical_us < longest_us / 10
    assert measured(run).ok == 40
    assert measured(run).achieved_per_s <= 21, "what ended after the stage was over was not achieved in it"
