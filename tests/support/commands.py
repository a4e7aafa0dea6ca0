"""The command line as a process that is forked from one in which its modules are loaded already.

Importing them takes longer than most commands do. What a fresh interpreter does is for the tests of the start, of
signals and of imports, which start one.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import IO, Any

LOADED = (
    "checker.__main__",
    "checker.cli.bench",
    "checker.cli.bench_history",
    "checker.cli.bench_live",
    "checker.cli.bench_report",
    "checker.cli.bench_run",
    "checker.cli.cache",
    "checker.cli.check",
    "checker.cli.completion",
    "checker.cli.config",
    "checker.cli.contract",
    "checker.cli.db",
    "checker.cli.docs",
    "checker.cli.dry_run",
    "checker.cli.history",
    "checker.cli.progress",
    "checker.cli.report",
    "checker.cli.report_availability",
    "checker.cli.report_incidents",
    "checker.cli.report_latency",
    "checker.cli.report_recommendations",
    "checker.cli.report_site",
    "checker.cli.report_trends",
    "checker.cli.sql",
    "checker.loadtest.live",
    "checker.loadtest.run",
    "checker.probes.mcp",
    "checker.probes.rest",
    "checker.processes.process_end",
    "checker.run.run",
    "checker.settings.adhoc",
    "checker.settings.config_cache",
    "checker.settings.every_fault",
    "checker.settings.load",
    "checker.settings.loadtests.quick",
    "checker.settings.loadtests.source",
    "checker.settings.schema",
    "cryptography.fernet",
    "cryptography.hazmat.primitives.ciphers.aead",
    "cryptography.hazmat.primitives.kdf.hkdf",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_svg",
    "pydantic",
    "reports.availability",
    "reports.cache_tables",
    "reports.charts",
    "reports.contract",
    "reports.contract_tables",
    "reports.cost",
    "reports.html",
    "reports.latency",
    "reports.loadtests.compared_runs",
    "reports.loadtests.output_forms",
    "reports.loadtests.report",
    "reports.loadtests.run_blocks",
    "reports.loadtests.run_lists",
    "reports.loadtests.trend",
    "reports.objectives",
    "reports.recommendations",
    "reports.run_metrics",
    "reports.site.write",
    "reports.terminal",
    "reports.text_tables",
    "reports.trends",
    "scipy.stats",
    "storage.history",
    "storage.loadtests.read",
    "storage.loadtests.write",
    "storage.rollups.partial",
    "storage.settings_evidence",
    "storage.sql",
    "storage.store",
)
"""What commands import late, each of which would take its time in every fork."""
_server: subprocess.Popen[str] | None = None


def run(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str], *, text: bool, timeout_s: float
) -> subprocess.CompletedProcess[Any]:
    """Run `mcp-status` with these arguments in the folder; raises TimeoutExpired, having killed it."""
    server = _running()
    assert server.stdin is not None
    assert server.stdout is not None
    with tempfile.NamedTemporaryFile() as out, tempfile.NamedTemporaryFile() as err:
        asked = {
            "arguments": list(arguments),
            "folder": str(folder),
            "environment": dict(environment),
            "out": out.name,
            "err": err.name,
        }
        server.stdin.write(json.dumps(asked) + "\n")
        server.stdin.flush()
        pid = int(server.stdout.readline())
        alarm = _Alarm(pid, timeout_s)
        with alarm:
            code = os.waitstatus_to_exitcode(int(server.stdout.readline()))
        printed: list[Any] = [_read(file, text) for file in (out, err)]
    if alarm.rang:
        raise subprocess.TimeoutExpired(list(arguments), timeout_s, *printed)
    return subprocess.CompletedProcess(list(arguments), code, *printed)


class _Alarm:
    """Kills a process that takes too long."""

    def __init__(self, pid: int, seconds: float) -> None:
        self.rang = False
        self._pid, self._timer = pid, threading.Timer(seconds, self._ring)

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def _ring(self) -> None:
        self.rang = True
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)


def _running() -> subprocess.Popen[str]:
    global _server
    if _server is None:
        _server = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        atexit.register(_end)
    return _server


def _end() -> None:
    if _server is not None and _server.stdin is not None and _server.stdout is not None:
        _server.stdin.close()
        _server.wait(10)
        _server.stdout.close()


def _read(file: IO[bytes], text: bool) -> str | bytes:
    file.seek(0)
    data = file.read()
    return data.decode().replace("\r\n", "\n") if text else data


def _serve() -> None:
    """Fork for each line that asks for a command; tell its number, and how it ended."""
    sys.path.insert(0, str(Path(__file__).parents[2]))
    for name in LOADED:
        import_module(name)
    from worker_template import forked_workers

    gc.collect()
    gc.freeze()  # no fork looks through it again, or copies it for that

    with forked_workers():
        for line in sys.stdin:
            if (pid := os.fork()) == 0:
                _become(json.loads(line))
            _say(pid)
            _say(os.waitpid(pid, 0)[1])


def _say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def _become(asked: dict[str, Any]) -> None:
    """Be the command: never returns."""
    for number, file in ((0, os.devnull), (1, asked["out"]), (2, asked["err"])):
        descriptor = os.open(file, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_TRUNC)
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])
    sys.argv = ["mcp-status", *asked["arguments"]]
    code: Any = 1
    try:
        from checker.__main__ import main

        main()
    except SystemExit as end:
        code = end.code
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            if sys.stdout is not None:
                sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0 if code is None else 1)


if __name__ == "__main__":
    _serve()
