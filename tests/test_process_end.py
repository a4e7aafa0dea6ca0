"""The end of our processes: everything printed and registered happens, though the interpreter is not taken apart."""

from __future__ import annotations

import os
import pstats
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LEAVE = "import atexit, sys, threading, time; from checker.processes.process_end import leave; "


def ended(code: str, *options: str, **pipes: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *options, "-c", code]
    pipes = {"stdout": subprocess.PIPE, **pipes}
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(
        command, cwd=ROOT, stderr=subprocess.PIPE, text=True, timeout=60, check=False, env=environment, **pipes
    )


@pytest.mark.parametrize("options", [(), ("-X", "dev")])
def test_streams_are_flushed_and_exit_handlers_run(options: tuple[str, ...]) -> None:
    code = "atexit.register(print, 'handler'); print('printed'); sys.stderr.write('told'); leave(7)"
    done = ended(LEAVE + code, *options)
    assert (done.returncode, done.stdout, done.stderr) == (7, "printed\nhandler\n", "told")


def test_interpreter_is_not_taken_apart() -> None:
    freed = "class Freed:\n    def __del__(self): print('freed')\nkept = Freed()\n"
    assert ended(f"{freed}{LEAVE}leave(0)").stdout == ""
    assert ended(f"{freed}{LEAVE}sys.exit(0)").stdout == "freed\n"


def test_thread_that_works_is_waited_for() -> None:
    code = "threading.Thread(target=lambda: (time.sleep(0.3), print('done'))).start(); leave(1)"
    done = ended(LEAVE + code)
    assert (done.returncode, done.stdout) == (1, "done\n")


def test_reader_that_has_gone_is_told_as_by_the_interpreter() -> None:
    codes = []
    for end in ("leave(0)", "sys.exit(0)"):
        reading, writing = os.pipe()
        os.close(reading)
        codes.append(ended(f"{LEAVE}print('printed'); {end}", stdout=writing).returncode)
        os.close(writing)
    assert codes == [120, 120]


def test_profiler_writes_what_it_found(tmp_path: Path) -> None:
    file = tmp_path / "profile"
    command = [sys.executable, "-m", "cProfile", "-o", str(file), "-m", "checker", "--version"]
    subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60, check=True)
    assert any("root.py" in place for place, _, _ in pstats.Stats(str(file)).stats)  # type: ignore[attr-defined] # no stub has it


def test_trace_is_not_cut_off() -> None:
    code = "sys.settrace(lambda *_: None); atexit.register(print, 'handler'); leave(2)"
    done = ended(LEAVE + code)
    assert (done.returncode, done.stdout) == (2, "handler\n")
