"""The benchmark of reports measures reports that print their rows, and its page has the newest figures."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from conftest import ROOT

sys.path.append(str(ROOT / "scripts"))

from bench.report_table import BEGIN, into_page

SAVED = sorted((ROOT / "docs" / "benchmarks" / "reports").glob("*.json"))


def bench(*arguments: object, flags: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *flags, str(ROOT / "scripts" / "bench_reports"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)


def test_reports_over_a_small_history_are_measured(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    size = ("--servers", 4, "--days", 2, "--rows", 400, "--rounds", 1)
    done = bench(*size, "--only", "start,availability,latency by stage", "--json", file)
    assert done.returncode == 0, done.stderr
    document = json.loads(file.read_text())
    assert (document["servers"], document["days"], document["rows"]) == (4, 2, 400)
    figures = {one["report"]: one for one in document["figures"]}
    assert list(figures) == ["start", "availability", "latency by stage"]
    assert all(one["cpu_s"]["median"] > 0 and one["peak_bytes"] > 10_000_000 for one in figures.values())
    assert figures["availability"]["lines"] > 4 * 2, "each server is in several tables"
    assert "latency by stage" in done.stdout


def test_a_python_without_the_project_is_told_which_one_to_use() -> None:
    done = bench(flags=("-S",))
    assert done.returncode == 1
    assert done.stderr.startswith("bench_reports: ")
    assert "run scripts/test once" in done.stderr
    assert "Traceback" not in done.stderr


def test_unknown_report_is_named_with_those_there_are() -> None:
    done = bench("--only", "uptime")
    assert done.returncode == 2
    assert "no uptime; there are start, availability, " in done.stderr


def test_sigterm_leaves_no_folder(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "bench_reports"), "--servers", "20", "--days", "5"]
    with subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as running:
        assert running.stderr is not None
        assert running.stderr.readline().startswith("writing the history")
        assert list(tmp_path.iterdir())
        running.terminate()
        assert running.wait(timeout=60) == 128 + signal.SIGTERM
    assert not list(tmp_path.iterdir())


def test_table_of_the_page_is_of_the_newest_figures() -> None:
    page = (ROOT / "docs" / "performance.md").read_text()
    assert BEGIN in page
    assert SAVED, "scripts/bench_reports --save writes the figures"
    assert into_page(page, json.loads(SAVED[-1].read_text())) == page
