"""Comparing what two installations store: the same is the same, chance is passed over, a difference is told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from conftest import ROOT

sys.path.append(str(ROOT / "scripts"))
from same.facts import differing, flat

SCRIPT = ROOT / "scripts" / "same_facts"


HERE = Path(sys.executable).with_name("mcp-status")
FORGES = f"""#!{sys.executable}
import sqlite3, subprocess, sys
code = subprocess.run(["{HERE}", *sys.argv[1:]]).returncode
with sqlite3.connect(sys.argv[sys.argv.index("--db") + 1]) as connection:
    connection.execute("update servers set group_name = 'forged' where name like '007 %'")
sys.exit(code)
"""


def compared(here: Path, there: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), str(there), "--this", str(here), "--fleets", "1", *arguments]
    environment = {**os.environ, "TMPDIR": str(folder)}
    return subprocess.run(command, capture_output=True, text=True, timeout=110, env=environment, check=False)


def test_an_installation_stores_what_it_stored_before(tmp_path: Path) -> None:
    same = compared(HERE, HERE, tmp_path, "--servers", "4")
    assert (same.returncode, same.stderr) == (0, ""), same.stdout
    assert "no difference" in same.stdout
    assert list(tmp_path.iterdir()) == [], "what was made for it is gone"


def test_what_another_installation_stores_otherwise_is_told(tmp_path: Path) -> None:
    forges = tmp_path / "forges"
    forges.write_text(FORGES)
    forges.chmod(0o755)
    other = compared(HERE, forges, tmp_path, "--servers", "12", "--rounds", "1")
    assert other.returncode == 1, other.stderr
    told = [line for line in other.stdout.splitlines() if line.startswith("  check_history [server 007 ")]
    assert len(told) == 2, "one for each run that asks the servers"
    assert all(" server_group: " in line and line.endswith(" and 'forged'") for line in told)


def test_only_what_never_agrees_is_a_difference() -> None:
    def round_of(first: str, second: str) -> tuple[dict[tuple[str, str, str], str], dict[tuple[str, str, str], str]]:
        return flat({"probes": [{"server": "a", "detail": first}]}), flat(
            {"probes": [{"server": "a", "detail": second}]}
        )

    place = ("probes", "server a", "detail")
    assert differing([round_of("reset", "closed")]) == {place: ("'reset'", "'closed'")}
    assert differing([round_of("reset", "closed"), round_of("closed", "closed")]) == {}
    assert differing([round_of("reset", "closed"), round_of("gone", "closed")]) == {
        place: ("'gone' or 'reset'", "'closed'")
    }


def test_what_cannot_be_run_is_said_in_a_sentence(tmp_path: Path) -> None:
    none = tmp_path / "none"
    done = compared(none, none, tmp_path, "--servers", "1")
    assert done.returncode == 2
    assert done.stderr.startswith("same_facts: ")
    assert str(none) in done.stderr
    assert "Traceback" not in done.stderr
