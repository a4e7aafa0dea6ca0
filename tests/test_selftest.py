"""`mcp-status selftest`: what it finds in a good and in a broken installation, and that it leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from checker.selftest.installation import features

COMMAND = (sys.executable, "-m", "checker", "selftest")
ROOT = Path(__file__).resolve().parent.parent


def started(folder: Path, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    """The command in an empty folder, with temporary files in another one."""
    for name in ("here", "temporary"):
        (folder / name).mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder / "temporary"), **variables}
    return subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=folder / "here",
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def nothing_is_left(folder: Path) -> bool:
    """Neither a file in one of the two folders nor a process that was started with them."""
    return (
        not any((folder / "here").iterdir())
        and not any((folder / "temporary").iterdir())
        and not [one for one in psutil.process_iter(["environ"]) if started_with(one, folder)]
    )


def started_with(process: psutil.Process, folder: Path) -> bool:
    return (process.info["environ"] or {}).get("TMPDIR") == str(folder / "temporary")


def by_step(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {step["step"]: step for step in document["steps"]}


def test_everything_works_with_a_proxy_another_locale_and_a_home_that_is_not_there(tmp_path: Path) -> None:
    nobody = "http://127.0.0.1:9"
    strange = {
        "HTTP_PROXY": nobody,
        "http_proxy": nobody,
        "LC_ALL": "C",
        "HOME": "/proc/none",
        "MCP_STATUS_ENV": "none",
    }
    with started(tmp_path, "--format", "json", **strange) as process:
        printed, errors = process.communicate(timeout=60)
    document = json.loads(printed)
    steps = by_step(document)
    assert (process.returncode, errors) == (0, "")
    assert {name: step["found"] for name, step in steps.items() if step["status"] != "passed"} == {}
    assert document["works"] is True
    assert steps["pools"]["found"] == "40 requests over 4 connections"
    assert steps["batches"]["found"].startswith("one result for each of 49 servers")
    assert "proxy" in document["runtime"]
    assert {"sqlite", "gevent", "tls"} <= document["runtime"].keys()
    assert nothing_is_left(tmp_path)


def test_broken_installation_is_told_with_what_was_expected_and_what_to_do(tmp_path: Path) -> None:
    """A package of the same name as gevent stands before it, as one that does not fit this machine would."""
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "gevent.py").write_text("raise ImportError('built for another system')\n")
    path = os.pathsep.join((str(tmp_path / "broken"), str(ROOT)))
    with started(tmp_path, PYTHONPATH=path, COLUMNS="80") as process:
        printed, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (2, "")
    printed = " ".join(printed.split())
    assert "FAILED run with workers" in printed
    assert "built for another system" in printed
    assert "`mcp-status check` ends with 2" in printed
    assert "pip install --force-reinstall" in printed
    assert "skipped REST needs the step run" in printed
    assert "1 of 16 steps FAILED" in printed
    assert nothing_is_left(tmp_path)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_in_the_middle_of_a_run_leaves_nothing_behind(tmp_path: Path, number: int, code: int) -> None:
    with started(tmp_path) as process:
        assert process.stdout is not None
        while not process.stdout.readline().startswith("ok       loopback") and process.poll() is None:
            pass  # the next step is the run
        workers: list[psutil.Process] = []
        while len(workers) < 2 and process.poll() is None:  # the command and at least one of its workers
            workers = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        printed, errors = process.communicate(timeout=30)
    assert (process.returncode, errors.strip()) == (code, "")
    assert "run with workers" not in printed
    assert nothing_is_left(tmp_path)


def test_few_open_files_are_named_with_their_remedy() -> None:
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (256, 4096))\n"
        "from pathlib import Path; from checker.selftest.installation import features\n"
        "for one in features({}, Path('/proc/none/h.db')): print(one.feature, one.is_available, one.remedy, sep='|')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "500 checks at once|False|`ulimit -n 4096` before it, or run.concurrency: 128" in done.stdout
    assert "history read while a run writes|True|None" in done.stdout


def test_missing_decoders_and_authorities_are_named() -> None:
    worker = {"authorities": 0, "codings": ["gzip", "deflate"]}
    missing = {one.feature: one.remedy for one in features(worker, Path("history.db")) if not one.is_available}
    assert missing["replies compressed with Brotli"] == 'pip install "mcp-status-check[codings]"'
    assert "ca-certificates" in (missing["https certificates verified"] or "")


def test_place_that_cannot_hold_a_history_is_named_with_the_option_for_another(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    places = (tmp_path / "not" / "there" / "yet" / "history.db", tmp_path / "file" / "history.db")
    good, bad = (next(iter(features({}, place))) for place in places)
    assert (good.is_available, good.remedy, list(tmp_path.iterdir())) == (True, None, [tmp_path / "file"])
    assert (bad.is_available, "--db" in (bad.remedy or "")) == (False, True)


def test_doctor_is_the_same_command(status: Any) -> None:
    assert "[OPTIONS]\n\n  Try the program on this machine" in status("doctor", "--help").stdout
    assert "doctor" not in status("--help").stdout
