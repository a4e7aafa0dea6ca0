"""Circuit breakers: which probes are left out, when they are tried again, and that nobody is called meanwhile."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from msgspec.structs import replace as changed

from builders import AT_MS, batch, check, probe, run_info, server
from checker.breaker import BreakerState, Circuit, after, rules, skips, whole
from checker.model import CheckResult, ProbeResult, Reason, Server, Status
from checker.probes.mcp.options import McpOptions
from checker.probes.options import Breaker
from checker.probes.rest import RestOptions
from checker.settings.load import load
from conftest import check_all
from servers import McpServer, RestServer, Scripted
from storage.sql import ask
from storage.store import open_store

CLOSED, OPEN, HALF_OPEN = BreakerState
UP, SLOW, DOWN, UNKNOWN = Status
BOTH = {"mcp": Breaker(failures=3), "rest": Breaker(failures=3)}
MINUTE_MS = 60_000
REASONS = {UP: None, SLOW: Reason.SLOW, DOWN: Reason.CONNECT_REFUSED, UNKNOWN: Reason.INTERNAL_ERROR}
Run = Callable[..., subprocess.CompletedProcess[Any]]


def checked(now_ms: int, found: Mapping[str, Status | None], **values: Any) -> CheckResult:
    """A check that ends now; None stands for a probe that was left out."""
    probes = tuple(
        probe(kind, status=DOWN, reason=Reason.CIRCUIT_OPEN, score=0.0, attempts=0, mcp=None)
        if status is None
        else probe(kind, status=status, reason=REASONS[status], mcp=None)
        for kind, status in found.items()
    )
    return check(started_at_ms=now_ms, duration_us=0, probes=probes, **values)


@dataclass
class Runs:
    """Runs one after the other, in which what is open is left out."""

    wanted: Mapping[str, Breaker] = field(default_factory=lambda: BOTH)
    circuits: dict[str, Circuit] = field(default_factory=dict)
    now_ms: int = AT_MS
    called: dict[str, bool] = field(default_factory=dict)
    """Kind -> whether the newest run called it."""

    def run(self, found: Mapping[str, Status], wait_ms: int = 1000, suspect: bool = False) -> list[BreakerState]:
        self.now_ms += wait_ms
        left_out = skips(self.circuits, self.wanted, self.now_ms)
        self.called = {kind: kind not in left_out for kind in found}
        made = {kind: None if kind in left_out else status for kind, status in found.items()}
        self.circuits = after(self.circuits, self.wanted, checked(self.now_ms, made, suspect=suspect))
        return [circuit.state for circuit in self.circuits.values()]

    def each(self, mcp: Status, rest: Status, times: int = 1, wait_ms: int = 1000) -> list[BreakerState]:
        states = []
        for _ in range(times):
            states = self.run({"mcp": mcp, "rest": rest}, wait_ms)
        return states


def test_path_opens_at_its_failures_in_a_row_and_alone() -> None:
    runs = Runs()
    assert runs.each(DOWN, UP, 2) == [CLOSED, CLOSED]
    assert runs.each(UP, UP) == [CLOSED, CLOSED]
    assert runs.each(DOWN, SLOW, 2) == [CLOSED, CLOSED]
    assert runs.each(DOWN, UP) == [OPEN, CLOSED]
    assert whole(runs.circuits, BOTH) == "mcp open"
    runs.each(UP, DOWN, 2)
    assert runs.called == {"mcp": False, "rest": True}
    assert runs.each(UP, DOWN) == [OPEN, OPEN]
    assert whole(runs.circuits, BOTH) == "open"


def test_open_path_is_tried_when_its_cooldown_is_over() -> None:
    runs = Runs()
    runs.each(DOWN, UP, 3)
    runs.each(DOWN, UP, wait_ms=MINUTE_MS - 1)
    assert not runs.called["mcp"]
    assert runs.each(UP, UP, wait_ms=1) == [HALF_OPEN, CLOSED]
    assert runs.called["mcp"]
    assert runs.each(UP, UP) == [CLOSED, CLOSED]
    assert whole(runs.circuits, BOTH) == "closed"


@pytest.mark.parametrize("good_trials", [0, 1])
def test_failed_trial_opens_it_again_with_a_fresh_cooldown(good_trials: int) -> None:
    runs = Runs()
    runs.each(DOWN, UP, 3)
    runs.each(UP, UP, good_trials, wait_ms=MINUTE_MS)
    assert runs.each(DOWN, UP, wait_ms=MINUTE_MS) == [OPEN, CLOSED]
    assert runs.circuits["mcp"].retry_at_ms == runs.now_ms + MINUTE_MS
    runs.each(UP, UP, wait_ms=MINUTE_MS - 1)
    assert not runs.called["mcp"]
    assert runs.each(UP, UP, 2, wait_ms=1) == [CLOSED, CLOSED], "the good trials before do not count any more"


def test_where_both_were_open_both_must_succeed_to_close() -> None:
    runs = Runs()
    assert runs.each(DOWN, DOWN, 3) == [OPEN, OPEN]
    assert runs.each(UP, DOWN, wait_ms=MINUTE_MS) == [HALF_OPEN, OPEN]
    assert runs.each(UP, UP, 5) == [HALF_OPEN, OPEN]
    assert runs.called == {"mcp": True, "rest": False}
    assert runs.each(UP, UP, wait_ms=MINUTE_MS) == [HALF_OPEN, HALF_OPEN]
    assert runs.each(UP, UP) == [CLOSED, CLOSED]


def test_path_that_waits_for_the_other_opens_again_with_one_failure() -> None:
    runs = Runs()
    runs.each(DOWN, DOWN, 3)
    runs.each(UP, DOWN, 3, wait_ms=MINUTE_MS)
    assert runs.each(DOWN, UP, wait_ms=MINUTE_MS) == [OPEN, HALF_OPEN]
    assert runs.each(UP, UP) == [OPEN, HALF_OPEN]
    assert runs.each(UP, UP, wait_ms=MINUTE_MS) == [HALF_OPEN, HALF_OPEN]
    assert runs.each(UP, UP) == [CLOSED, CLOSED]


def test_path_that_opens_beside_trials_makes_them_wait_for_it() -> None:
    runs = Runs()
    runs.each(DOWN, UP)
    runs.each(DOWN, DOWN, 2)
    assert runs.each(UP, DOWN, wait_ms=MINUTE_MS) == [HALF_OPEN, OPEN]
    assert runs.each(UP, UP) == [HALF_OPEN, OPEN]


def test_path_without_a_breaker_is_not_waited_for() -> None:
    runs = Runs(wanted={"mcp": Breaker(failures=1)})
    assert runs.each(DOWN, DOWN) == [OPEN]
    assert runs.each(UP, DOWN, 2, wait_ms=MINUTE_MS) == [CLOSED]
    assert runs.called["rest"]


@pytest.mark.parametrize("told", [{"mcp": UNKNOWN, "rest": UNKNOWN}, {"mcp": None, "rest": None}])
@pytest.mark.parametrize("state", BreakerState)
def test_what_says_nothing_of_the_server_changes_nothing(state: BreakerState, told: Any) -> None:
    before = {kind: Circuit(state=state, failures=2, successes=9, since_ms=1, retry_at_ms=2) for kind in BOTH}
    assert after(before, BOTH, checked(AT_MS, told)) == before
    for status in Status:
        assert after(before, BOTH, checked(AT_MS, {"mcp": status, "rest": status}, suspect=True)) == before


def test_shorter_cooldown_holds_at_once_and_a_longer_one_from_the_next_time() -> None:
    open_ = {"mcp": Circuit(state=OPEN, failures=3, since_ms=AT_MS, retry_at_ms=AT_MS + MINUTE_MS, reason="dns")}
    for cooldown_s, tried_after_s in ((1.0, 1), (3600.0, 60)):
        rule = {"mcp": Breaker(failures=3, cooldown=cooldown_s)}
        assert set(skips(open_, rule, AT_MS + tried_after_s * 1000 - 1)) == {"mcp"}
        assert skips(open_, rule, AT_MS + tried_after_s * 1000) == {}


def test_clock_that_was_set_back_does_not_keep_a_path_open() -> None:
    open_ = {"mcp": Circuit(state=OPEN, failures=3, since_ms=AT_MS, retry_at_ms=AT_MS + MINUTE_MS, reason="dns")}
    assert skips(open_, BOTH, AT_MS - 365 * 86_400_000) == {}


def test_detail_says_why_and_until_when() -> None:
    circuit = Circuit(state=OPEN, failures=5, since_ms=AT_MS, retry_at_ms=AT_MS + 30_400, reason="connect_refused")
    said = "not called: 5 failures in a row, the last one connect_refused; tried again from 2026-11-23T12:00:31Z"
    assert skips({"mcp": circuit}, BOTH, AT_MS) == {"mcp": said}
    once = "not called: the last call failed: connect_refused; tried again from 2026-11-23T12:00:31Z"
    assert skips({"mcp": changed(circuit, failures=1)}, BOTH, AT_MS) == {"mcp": once}


@pytest.mark.parametrize("states", list(product(BreakerState, BreakerState)))
def test_server_is_closed_only_where_both_paths_are(states: tuple[BreakerState, BreakerState]) -> None:
    circuits = {kind: Circuit(state=state) for kind, state in zip(BOTH, states, strict=True)}
    said = whole(circuits, BOTH)
    assert (said == "closed") == (set(states) == {CLOSED})
    assert (said == "open") == (set(states) == {OPEN})
    assert whole({}, BOTH) == "closed"


_steps = st.lists(
    st.tuples(
        st.fixed_dictionaries({"mcp": st.sampled_from(Status), "rest": st.sampled_from(Status)}),
        st.sampled_from([0, 1, 999, 1000, 5000, 20_000]),
        st.sampled_from([False] * 9 + [True]),
    ),
    max_size=60,
)
_breakers = st.builds(
    Breaker, failures=st.integers(1, 4), cooldown=st.sampled_from([0.001, 1.0, 10.0]), trials=st.integers(1, 3)
)
_wanted = st.fixed_dictionaries({"mcp": _breakers, "rest": _breakers})
_ALLOWED = {
    (CLOSED, CLOSED),
    (CLOSED, OPEN),
    (OPEN, OPEN),
    (OPEN, HALF_OPEN),
    (OPEN, CLOSED),
    (HALF_OPEN, HALF_OPEN),
    (HALF_OPEN, OPEN),
    (HALF_OPEN, CLOSED),
}


@given(_wanted, _steps)
def test_every_step_follows_from_what_the_calls_told(wanted: dict[str, Breaker], steps: list[Any]) -> None:
    runs, told = Runs(wanted=wanted), {"mcp": list[Status](), "rest": list[Status]()}
    for found, wait_ms, suspect in steps:
        before = {kind: runs.circuits.get(kind, Circuit()) for kind in wanted}
        runs.run(found, wait_ms, suspect)
        now = runs.circuits
        counted = {kind for kind in found if runs.called[kind] and found[kind] is not UNKNOWN and not suspect}
        for kind in counted:
            told[kind].append(found[kind])
        if not counted:
            assert now == before
        for kind, rule in wanted.items():
            was, is_ = before[kind], now[kind]
            assert (was.state, is_.state) in _ALLOWED
            if is_.state is OPEN and is_ != was:
                assert kind in counted
                assert told[kind][-1] is DOWN
                assert is_.retry_at_ms == runs.now_ms + round(rule.cooldown * 1000)
            if (was.state, is_.state) == (CLOSED, OPEN):
                assert len(told[kind]) >= rule.failures
                assert set(told[kind][-rule.failures :]) == {DOWN}
            if was.state is CLOSED and told[kind][-rule.failures :] == [DOWN] * rule.failures and kind in counted:
                assert is_.state is OPEN or was.failures + 1 < rule.failures, "failures before it closed do not count"
            if is_.state is CLOSED and was.state is not CLOSED:
                assert DOWN not in told[kind][-rule.trials :]
                assert len(told[kind]) >= rule.trials
            if not runs.called[kind]:
                assert (was.state, is_) == (OPEN, was)
            assert (is_.state is OPEN) == (is_.retry_at_ms is not None)
            assert (is_.state is HALF_OPEN) == (is_.successes > 0)
            assert is_.state is not OPEN or is_.failures > 0
        if all(circuit.state is not CLOSED for circuit in before.values()):
            assert len({circuit.state is CLOSED for circuit in now.values()}) == 1, "closed together or not at all"


@given(_wanted, _steps)
def test_good_servers_close_and_bad_ones_open_from_wherever_they_are(wanted: Any, steps: list[Any]) -> None:
    for mcp, rest in product((UP, DOWN), (UP, DOWN)):
        runs = Runs(wanted=wanted)
        for found, wait_ms, suspect in steps:
            runs.run(found, wait_ms, suspect)
        runs.each(mcp, rest, 12, wait_ms=20_000)
        if mcp is rest:
            assert whole(runs.circuits, wanted) == ("closed" if mcp is UP else "open")
        for kind, status in (("mcp", mcp), ("rest", rest)):
            assert (runs.circuits[kind].state is OPEN) == (status is DOWN)


@given(_wanted, _steps)
def test_path_beside_a_healthy_one_behaves_as_if_it_were_alone(wanted: dict[str, Breaker], steps: list[Any]) -> None:
    both, alone = Runs(wanted=wanted), Runs(wanted={"mcp": wanted["mcp"]})
    for found, wait_ms, suspect in steps:
        both.run({"mcp": found["mcp"], "rest": UP}, wait_ms, suspect)
        alone.run({"mcp": found["mcp"]}, wait_ms, suspect)
        assert both.circuits["mcp"] == alone.circuits["mcp"]
        assert both.circuits["rest"].state is CLOSED


@given(_wanted, _steps)
def test_paths_are_alike_whatever_their_order(wanted: dict[str, Breaker], steps: list[Any]) -> None:
    forward, backward = Runs(wanted=wanted), Runs(wanted=dict(reversed(wanted.items())))
    for found, wait_ms, suspect in steps:
        forward.run(found, wait_ms, suspect)
        backward.run(dict(reversed(found.items())), wait_ms, suspect)
        assert forward.circuits == backward.circuits


def broken_by(breaker: Breaker | None, name: str = "search", **others: Any) -> Server:
    wanted = {"mcp": breaker, "rest": breaker, **others}
    options = {"mcp": McpOptions(url="http://h/mcp"), "rest": RestOptions(url="http://h/health")}
    return server(name, probes={kind: replace(options[kind], breaker=wanted[kind]) for kind in options})


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with ask(path, query, 10.0) as answer:
        return list(answer.rows)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=10, deadline=None)
@given(_wanted, _steps.filter(lambda steps: len(steps) < 12))
def test_states_last_from_run_to_run(tmp_path: Path, wanted: dict[str, Breaker], steps: list[Any]) -> None:
    path, one, runs = tmp_path / "any.db", broken_by(None, "search", **wanted), Runs(wanted=wanted)
    path.unlink(missing_ok=True)
    for found, wait_ms, suspect in steps:
        with open_store(path) as store:
            run_id = store.begin_run(run_info(), [one])
            stored = store.circuits().get("search", {})
            assert all(runs.circuits.get(kind, Circuit()) == stored.get(kind, Circuit()) for kind in wanted)
            left_out = skips(stored, rules(one), runs.now_ms + wait_ms)
            made = {kind: None if kind in left_out else status for kind, status in found.items()}
            store.write(run_id, batch(checked(runs.now_ms + wait_ms, made, suspect=suspect)))
        runs.run(found, wait_ms, suspect)


def down(name: str = "search", at_ms: int = AT_MS) -> CheckResult:
    return checked(at_ms, {"mcp": DOWN, "rest": DOWN}, server=name)


def test_view_shows_the_states(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    with open_store(path) as store:
        for number in range(2):
            found = checked(AT_MS + number * 1000, {"mcp": DOWN, "rest": UP})
            store.write(store.begin_run(run_info(), [broken_by(Breaker(failures=2))]), batch(found))
    assert rows(path, "select * from breaker_states") == [
        ("search", "mcp", "open", 2, 0, "2026-11-23T12:00:01.000Z", "2026-11-23T12:01:01.000Z", "connect_refused")
    ]


def test_check_that_comes_twice_counts_once(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    with open_store(path) as store:
        run_id = store.begin_run(run_info(), [broken_by(Breaker(failures=9))])
        store.write(run_id, batch(down(), checked(AT_MS, {"mcp": UP, "rest": UP})))
        store.write(run_id, batch(down()))
    assert rows(path, "select kind, failures from breaker_states") == [("mcp", 1), ("rest", 1)]


def test_states_are_written_with_their_batch_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    with open_store(path) as store:
        run_id = store.begin_run(run_info(), [broken_by(Breaker(failures=9))])
        refused = replace(down(), status="none of ours")  # type: ignore[arg-type] # which the table refuses
        with pytest.raises(Exception, match="known_status"):
            store.write(run_id, batch(refused))
    assert rows(path, "select * from breaker_states") == []


def test_breaker_that_is_not_configured_any_more_is_forgotten(tmp_path: Path) -> None:
    path, breaker = tmp_path / "h.db", Breaker(failures=1)
    names = ["a", "b", "c"]
    with open_store(path) as store:
        run_id = store.begin_run(run_info(), [broken_by(breaker, name) for name in names])
        store.write(run_id, batch(*(down(name) for name in names)))
        assert set(store.circuits()) == {"a", "b", "c"}
        only_rest = Server(name="b", probes={"rest": RestOptions(url="http://h/", breaker=breaker)})
        run_id = store.begin_run(run_info(), [broken_by(None, "a", rest=breaker), only_rest])
        assert {name: set(circuits) for name, circuits in store.circuits().items()} == {"a": {"rest"}, "b": {"rest"}}
        store.write(run_id, batch(down("a", AT_MS + MINUTE_MS)))
    kept = rows(path, "select server, kind from breaker_states order by server, kind")
    assert kept == [("a", "rest"), ("b", "rest"), ("c", "mcp"), ("c", "rest")]


def test_two_runs_at_once_count_together(tmp_path: Path) -> None:
    path, one = tmp_path / "h.db", broken_by(Breaker(failures=4))
    with open_store(path) as first, open_store(path) as second:
        runs = [(store, store.begin_run(run_info(), [one])) for store in (first, second, first, second)]
        for store, run_id in runs:
            store.write(run_id, batch(down()))
    assert rows(path, "select distinct state, failures from breaker_states") == [("open", 4)]


def test_defaults_give_every_server_a_breaker_and_null_takes_it_away(tmp_path: Path) -> None:
    document = {
        "defaults": {"mcp": {"breaker": {"failures": 5}}},
        "servers": [
            {"name": "a", "mcp": "http://h/mcp", "rest": "http://h/"},
            {"name": "b", "mcp": {"url": "http://h/mcp", "breaker": None}},
            {"name": "c", "mcp": {"command": "mcp-server-time", "breaker": {"cooldown": "5m", "trials": 1}}},
        ],
    }
    (tmp_path / "fleet.yaml").write_text(yaml.safe_dump(document))
    a, b, c = load(tmp_path / "fleet.yaml", None, {}).servers
    assert rules(a) == {"mcp": Breaker(failures=5, cooldown=60.0, trials=2)}
    assert rules(b) == {}
    assert rules(c) == {"mcp": Breaker(failures=5, cooldown=300.0, trials=1)}


def test_worker_leaves_a_skipped_path_out_and_answers_for_it() -> None:
    with RestServer() as rest, McpServer() as mcp:
        one = server(probes={"mcp": McpOptions(url=mcp.url()), "rest": RestOptions(url=rest.url())})
        result = check_all([one], skipped=lambda _server: {"rest": "not called: so it is"})["search"]
        assert (rest.connections, mcp.opened) == (0, 1)
    expected = ProbeResult(
        kind="rest",
        status=DOWN,
        reason=Reason.CIRCUIT_OPEN,
        detail="not called: so it is",
        score=0.0,
        attempts=0,
        url=rest.url(),
        started_at_ms=result.probes[1].started_at_ms,
        duration_us=0,
    )
    assert result.probes[1] == expected
    assert (result.status, result.reason, result.score) == (SLOW, Reason.CIRCUIT_OPEN, 0.5)
    assert result.detail == "rest: not called: so it is"


class Fleet:
    """One server of two paths, checked by the command in runs of their own."""

    def __init__(self, status: Run, tmp_path: Path, mcp: McpServer, rest: RestServer) -> None:
        self._status, self._config, self.db = status, tmp_path / "fleet.yaml", tmp_path / "history.db"
        self.mcp, self.rest = mcp, rest

    def break_(self, *kinds: str) -> None:
        """Let these paths fail and the others be well."""
        self.mcp.faults.raw = {"initialize": (500, "text/plain", b"no")} if "mcp" in kinds else {}
        self.rest.paths["/health"].status = 500 if "rest" in kinds else 200

    def run(self, cooldown: str = "1h", **breaker: Any) -> tuple[dict[str, Any], dict[str, int]]:
        """The check of a run, and how many connections each path got of it."""
        before = {"mcp": self.mcp.connections, "rest": self.rest.connections}
        options = {"breaker": {"failures": 2, "cooldown": cooldown, **breaker}}
        mcp, rest = {"url": self.mcp.url(), "era": "session", **options}, {"url": self.rest.url(), **options}
        self._config.write_text(yaml.safe_dump({"servers": [{"name": "one", "mcp": mcp, "rest": rest}]}))
        done = self._status("check", self._config, "--format", "json")
        assert "Traceback" not in done.stderr
        connections = {"mcp": self.mcp.connections - before["mcp"], "rest": self.rest.connections - before["rest"]}
        (found,) = json.loads(done.stdout)["checks"]
        return found, connections

    def states(self) -> dict[str, str]:
        return dict(rows(self.db, "select kind, state from breaker_states order by kind"))


@pytest.fixture
def fleet(status: Run, tmp_path: Path) -> Any:
    with McpServer() as mcp, RestServer() as rest:
        yield Fleet(status, tmp_path, mcp, rest)


@pytest.mark.parametrize(("bad", "good"), [("mcp", "rest"), ("rest", "mcp")])
def test_open_path_gets_no_connection_and_the_other_one_does(fleet: Fleet, bad: str, good: str) -> None:
    fleet.break_(bad)
    for _ in range(2):
        found, connections = fleet.run()
        assert (found["status"], found["reason"]) == ("DEGRADED", "http_status")
        assert connections[bad] > 0
    assert fleet.states() == {bad: "open"}

    found, connections = fleet.run()
    assert connections[bad] == 0
    assert connections[good] > 0
    assert (found["status"], found["reason"], found["score"]) == ("DEGRADED", "circuit_open", 0.5)
    (skipped,) = (one for one in found["probes"] if one["kind"] == bad)
    assert (skipped["status"], skipped["attempts"], skipped["score"], skipped["duration_ms"]) == ("UNHEALTHY", 0, 0, 0)
    said = r"not called: 2 failures in a row, the last one http_status; tried again from \d{4}-\d\d-\d\dT[\d:]{8}Z"
    assert re.fullmatch(said, skipped["detail"])
    stored = f"select status, reason, attempts from probe_history where run_id = 3 and kind = '{bad}'"
    assert rows(fleet.db, stored) == [("UNHEALTHY", "circuit_open", 0)]

    _, connections = fleet.run(cooldown="1ms")
    assert connections[bad] > 0, "a trial"
    assert fleet.states() == {bad: "open"}, "which failed"

    fleet.break_()
    found, _ = fleet.run(cooldown="1ms")
    assert (found["status"], fleet.states()) == ("HEALTHY", {bad: "half_open"})
    found, _ = fleet.run(cooldown="1ms")
    assert (found["status"], fleet.states()) == ("HEALTHY", {bad: "closed"})


def test_server_with_both_paths_open_is_called_by_nobody_and_closes_whole(fleet: Fleet) -> None:
    once: dict[str, Any] = {"failures": 1, "trials": 1}
    fleet.break_("mcp", "rest")
    fleet.run(**once)
    found, connections = fleet.run(**once)
    assert connections == {"mcp": 0, "rest": 0}
    assert (found["status"], found["reason"], found["score"]) == ("UNHEALTHY", "circuit_open", 0)

    fleet.break_("rest")
    for _ in range(2):
        found, connections = fleet.run(cooldown="1ms", **once)
        assert fleet.states() == {"mcp": "half_open", "rest": "open"}
        assert all(connections.values())
    fleet.break_()
    fleet.run(cooldown="1ms", **once)
    assert fleet.states() == {"mcp": "closed", "rest": "closed"}


def test_all_attempts_of_a_check_are_one_failure(status: Run, tmp_path: Path) -> None:
    with RestServer({"/health": Scripted(503)}) as rest:
        retry, breaker = {"max_attempts": 3, "initial_backoff": "1ms"}, {"failures": 2, "cooldown": "1h"}
        options = {"url": rest.url(), "retry": retry, "breaker": breaker}
        (tmp_path / "fleet.yaml").write_text(yaml.safe_dump({"servers": [{"name": "one", "rest": options}]}))
        found = []
        for _ in range(3):
            assert status("check", tmp_path / "fleet.yaml", "--quiet").returncode == 2
            stored = rows(tmp_path / "history.db", "select state, failures from breaker_states")
            found.append((len(rest.requests), *stored))
    assert found == [(3, ("closed", 1)), (6, ("open", 2)), (6, ("open", 2))]


def test_command_whose_breaker_is_open_is_not_started(status: Run, tmp_path: Path) -> None:
    started = tmp_path / "started"
    options = {"command": "sh", "args": ["-c", f"echo x >> {started}; exit 1"], "breaker": {"failures": 1}}
    (tmp_path / "fleet.yaml").write_text(yaml.safe_dump({"servers": [{"name": "one", "mcp": options}]}))
    status("check", tmp_path / "fleet.yaml", "--quiet")
    by_the_first_run = started.read_text()
    status("check", tmp_path / "fleet.yaml", "--quiet")
    assert started.read_text() == by_the_first_run != ""
    assert rows(tmp_path / "history.db", "select reason from probe_history order by run_id") == [
        ("process_exited",),
        ("circuit_open",),
    ]
