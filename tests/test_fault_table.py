"""One hostile server of each kind beside healthy ones in one worker: each told with its reason in time.

`scripts/fault_table` checks all of them beside 500; here each fault is asked over one of its ways, another each time.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fault_document import document
from fault_rows import MOST_LAG_MS, MOST_MEMORY_BYTES, Round, checked_beside
from hostile.kinds import KINDS

ROOT = Path(__file__).resolve().parent.parent
HEALTHY = 60


def _sample() -> list[str]:
    """A name for each fault; its ways are taken in turn."""
    ways: dict[str, list[str]] = {}
    for name, one in KINDS.items():
        ways.setdefault(one.fault, []).append(name)
    return [names[number % len(names)] for number, names in enumerate(ways.values())]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Round:
    return checked_beside(_sample(), HEALTHY, tmp_path_factory.mktemp("faults"))


def test_each_is_told_with_a_true_reason_in_time(found: Round, tmp_path: Path) -> None:
    """What is wrong is looked at twice more by itself: the machine may have been busy."""
    wrong = [row for row in found.rows if row.faults]
    assert len(wrong) <= len(found.rows) // 4, wrong
    for look in range(2):
        if wrong:
            again = checked_beside([row.name for row in wrong], 10, tmp_path / str(look))
            wrong = [row for row in again.rows if row.faults]
    assert [(row.name, row.status, row.reason, row.detail, row.faults) for row in wrong] == []


def test_every_healthy_server_is_healthy(found: Round) -> None:
    assert (found.healthy, found.unhealthy_said) == (HEALTHY, [])


def test_worker_lives_and_stays_small(found: Round) -> None:
    assert found.workers == 1
    assert found.memory_bytes < MOST_MEMORY_BYTES


@pytest.mark.skipif(os.getloadavg()[0] > 2 * (os.cpu_count() or 1), reason="the machine is busy with something else")
def test_worker_is_on_time(found: Round) -> None:
    """As far as this process was on time itself."""
    assert found.lag_longest_ms < MOST_LAG_MS + found.machine_lag_ms


def test_nothing_is_called_that_a_server_named_and_no_credential_is_seen(found: Round) -> None:
    assert [fault for fault in found.faults if "called" in fault or "credential" in fault] == []


def test_document_is_of_the_servers_there_are() -> None:
    assert (ROOT / "docs" / "faults.md").read_text() == document()
