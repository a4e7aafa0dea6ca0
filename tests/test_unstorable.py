"""A value that cannot be handed over or stored takes no other result with it, and its server stays in the count."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace
from sqlalchemy import text

from builders import run_info
from checker.model import Batch, CheckResult, McpFacts, ProbeResult, Reason, Server, Status
from checker.probes.rest import RestOptions
from checker.wire import frame
from checker.worker.attempts import STUMBLED, _stumbled
from checker.worker.checks import Finished
from checker.worker.loop import Loop
from storage.store import open_store

ODD = {"surrogates": "\ud800", "too large for a frame": "x" * (65 << 20)}
NAMES = [f"s{number}" for number in range(5)]


def check(name: str, detail: str | None = None, **probe: object) -> CheckResult:
    """A result whose server said this."""
    made = ProbeResult(kind="rest", status=Status.UNHEALTHY, started_at_ms=1, duration_us=1, detail=detail, attempts=1)
    probes = (replace(made, **probe),)  # type: ignore[arg-type] # fields of it
    return CheckResult(
        server=name, status=Status.UNHEALTHY, started_at_ms=1, duration_us=1, detail=detail, probes=probes
    )


@pytest.mark.parametrize("odd", ODD)
def test_what_no_frame_can_carry_keeps_no_other_result_back(odd: str) -> None:
    sent: list[Batch] = []

    def emit(batch: Batch) -> None:
        frame(batch)
        sent.append(batch)

    finished = [Finished(check(name, ODD[odd] if name == "s2" else "fine"), ()) for name in NAMES]
    Loop(emit)._hand_over(finished)
    found = {one.server: one for batch in sent for one in batch.checks}
    assert sorted(found) == NAMES
    assert {found[name].detail for name in NAMES if name != "s2"} == {"fine"}
    assert (found["s2"].status, found["s2"].reason) == ("UNHEALTHY", "http_malformed")


@pytest.mark.parametrize(
    "probe", [{"http_status": 1 << 70}, {"detail": "\ud800"}, {"mcp": McpFacts(server_name="\udfff")}]
)
def test_what_cannot_be_stored_takes_no_other_row_with_it(tmp_path: Path, probe: dict[str, object]) -> None:
    servers = [Server(name=name, probes={"rest": RestOptions(url="http://h/")}) for name in NAMES]
    with open_store(tmp_path / "h.db") as store:
        run_id = store.begin_run(run_info(), servers)
        batch = Batch(checks=tuple(check(name, **(probe if name == "s2" else {})) for name in NAMES))
        assert store.write(run_id, batch) == len(NAMES)
        assert store.missing(run_id, NAMES) == []
        with store.transaction() as connection:
            rows = connection.execute(text("select status, reason from probes order by server_id")).all()
    assert [row[0] for row in rows] == ["UNHEALTHY"] * len(NAMES)
    assert rows[2][1] == ("http_malformed" if "http_status" in probe else None)


def test_text_with_a_nul_is_stored_as_it_is(tmp_path: Path) -> None:
    servers = [Server(name="s", probes={"rest": RestOptions(url="http://h/")})]
    with open_store(tmp_path / "h.db") as store:
        run_id = store.begin_run(run_info(), servers)
        assert store.write(run_id, Batch(checks=(check("s", "a\0b"),))) == 1


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RecursionError(), Reason.MCP_INVALID_RESULT),
        (KeyError("result"), Reason.MCP_INVALID_RESULT),
        (UnicodeDecodeError("utf-8", b"x", 0, 1, "odd"), Reason.MCP_INVALID_RESULT),
        (OSError("no space left"), Reason.INTERNAL_ERROR),
        (NameError("x"), Reason.INTERNAL_ERROR),
    ],
)
def test_stumbling_over_a_reply_is_told_as_the_servers_and_our_own_fault_as_ours(
    error: Exception, reason: Reason
) -> None:
    failure = _stumbled("mcp", error)
    assert (failure.reason, failure.detail.startswith(STUMBLED)) == (reason, reason is not Reason.INTERNAL_ERROR)
