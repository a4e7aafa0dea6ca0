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
from bench.budgets import BUDGETS
from bench.table import pages

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


def test_every_server_has_its_own_origin_and_its_own_contract(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    done = bench("--quick", "--only", "*-own-mcp,checker-own-run", "--json", file, "--checks", 10)
    assert done.returncode == 0, done.stderr
    figures = {one["contestant"]: one for one in json.loads(file.read_text())["figures"]}
    assert {name: one["requests_per_check"] for name, one in figures.items()} == {
        "checker-own-mcp": 6,
        "urllib3-own-mcp": 6,
        "checker-own-run": 1,
    }
    assert all(one["connections_per_check"] >= 1 for one in figures.values())


def test_a_whole_run_is_split_between_its_processes(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    done = bench("--rounds", 2, "--only", "fleet-two-workers*,history-1MB", "--json", file, "--checks", 200)
    assert done.returncode == 0, done.stderr
    document = json.loads(file.read_text())
    samples = document["samples"]
    assert [one["checks"] for one in samples] == [40, 200] * 4, "the first run, and the second on one database"
    assert all(0 < one["workers_cpu_s"] < one["cpu_s"] for one in samples)
    assert all(one["parent_peak_bytes"] > 10e6 < one["worker_peak_bytes"] for one in samples)
    assert document["skipped"] == {"history-1MB": "it is not among --databases"}
    assert len(document["load_averages_1min"]) == 3, "before each round, and at the end"


def test_without_its_environment_it_says_so_in_a_sentence() -> None:
    command = [sys.executable, "-S", "-E", str(ROOT / "scripts" / "bench_peers"), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("bench_peers: ")
    assert "run scripts/test once" in done.stderr
    assert done.stderr.count("\n") == 1


def test_pages_have_the_figures_that_were_saved_last() -> None:
    for page, text in pages(ROOT).items():
        assert page.read_text() == text, page.name


def test_what_is_beyond_its_budget_is_marked() -> None:
    budget = next(one for one in BUDGETS if one.words == "`--help`")
    assert budget.measured({"start-help": {"start_cpu_s": {"median": 0.08}}}) == "0.08 s of CPU"
    assert budget.measured({"start-help": {"start_cpu_s": {"median": 0.2}}}) == "0.20 s of CPU (missed)"
    assert budget.measured({}) == "-"


@pytest.mark.skipif(not SAVED_LOADS, reason="nothing was saved yet")
def test_tables_of_the_load_generator_and_of_the_claims_are_of_the_newest_figures() -> None:
    page = (ROOT / "docs" / "performance.md").read_text()
    assert load_table.into_page(page, json.loads(SAVED_LOADS[-1].read_text())) == page
    assert load_table.BEGIN in page
    claims = subprocess.run([sys.executable, ROOT / "scripts" / "claims", "--check"], capture_output=True, text=True)
    assert claims.returncode == 0, claims.stdout + claims.stderr
