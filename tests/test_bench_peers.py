"""The benchmark measures what it says: every check is answered, and the pages have the newest figures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT

sys.path.append(str(ROOT / "scripts"))

from bench import load_table
from bench.table import brief, into_page, markdown

SAVED = sorted((ROOT / "docs" / "benchmarks").glob("*.json"))
SAVED_LOADS = sorted((ROOT / "docs" / "benchmarks" / "load").glob("*.json"))


def bench(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "bench_peers"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)


def test_every_contestant_answers_all_its_checks_by_the_targets_own_count(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    done = bench("--quick", "--only", "checker-rest,urllib3", "--json", file, "--checks", 20)
    assert done.returncode == 0, done.stderr
    samples = json.loads(file.read_text())["samples"]
    found = [(one["contestant"], one["checks"], one["good"], one["counted"], one["requests"]) for one in samples]
    assert found == [
        ("checker-rest", 4, 4, 4, 4),
        ("checker-rest", 20, 20, 20, 20),
        ("urllib3", 4, 4, 4, 4),
        ("urllib3", 20, 20, 20, 20),
    ]
    assert all(one["cpu_s"] > 0 and one["peak_bytes"] > 0 for one in samples)


def test_checker_and_urllib3_make_the_same_mcp_requests(tmp_path: Path) -> None:
    """Else their ratio would compare different work."""
    file = tmp_path / "figures.json"
    done = bench("--quick", "--only", "checker-mcp,urllib3-mcp", "--json", file, "--checks", 10)
    assert done.returncode == 0, done.stderr
    figures = {one["contestant"]: one["requests_per_check"] for one in json.loads(file.read_text())["figures"]}
    assert figures == {"checker-mcp": 6, "urllib3-mcp": 6}


def test_unknown_contestant_is_named_with_those_there_are() -> None:
    done = bench("--only", "curl")
    assert done.returncode == 2
    assert "no curl; there are checker-rest, " in done.stderr


@pytest.mark.skipif(not SAVED, reason="nothing was saved yet")
def test_tables_of_the_pages_are_of_the_newest_figures() -> None:
    newest = json.loads(SAVED[-1].read_text())
    for name, part in (("docs/performance.md", markdown(newest)), ("README.md", brief(newest))):
        page = (ROOT / name).read_text()
        assert into_page(page, part) == page, name
        assert part in page, name


@pytest.mark.skipif(not SAVED_LOADS, reason="nothing was saved yet")
def test_tables_of_the_load_generator_and_of_the_claims_are_of_the_newest_figures() -> None:
    page = (ROOT / "docs" / "performance.md").read_text()
    assert load_table.into_page(page, json.loads(SAVED_LOADS[-1].read_text())) == page
    assert load_table.BEGIN in page
    claims = subprocess.run([sys.executable, ROOT / "scripts" / "claims", "--check"], capture_output=True, text=True)
    assert claims.returncode == 0, claims.stdout + claims.stderr
