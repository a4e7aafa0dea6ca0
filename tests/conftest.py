"""Fixtures: servers checked by a real worker process, the command line as a process, and the SDKs' own servers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, settings

from checker import probe_kinds
from checker.limits import Limits
from checker.model import Batch, CheckResult, Server
from checker.run.queue import Shard, Shards
from checker.run.workers import RunnerOptions, run_shards

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "support"), str(HERE)]  # importlib mode leaves them out

import commands  # noqa: E402 # found only now
from real_servers import SERVERS, NotInstalled, running  # noqa: E402
from worker_template import forked_workers  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
os.environ.pop("COLUMNS", None)  # or what is recorded is laid out for the terminal of who runs the tests
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")  # what an example takes tells more of a busy machine than of what is tested

LONG = (
    "test_scripts.py",
    "test_recipes.py",
    "test_quarantine.py",
    "test_bench_report.py",
    "test_bench_cli.py",
    "test_plain_text.py",
    "test_oauth.py",
    "test_conformance.py",
    "test_workers.py",
    "test_architecture.py",
    "test_bench_any_history.py",
    "test_bench_peers.py",
    "test_pages.py",
    "test_rollups.py",
    "test_canaries.py",
    "test_bench_generator.py",
    "test_recommendations.py",
    "test_stdio.py",
    "test_bench_compare.py",
    "test_cache_cli.py",
    "test_governor.py",
    "test_fault_table.py",
    "test_real_servers.py",
    "test_charts.py",
    "test_cli.py",
    "test_bounded_store.py",
    "test_drift.py",
    "test_breaker.py",
    "test_heavy_work.py",
    "test_endless.py",
    "test_known_replies.py",
    "test_server_order.py",
    "test_same_facts.py",
    "test_bench_rest.py",
    "test_bench_suite.py",
    "test_authorization_server.py",
    "test_escapes.py",
    "test_pools.py",
    "test_bench_reports.py",
    "test_bench_stress.py",
    "test_stdio_servers.py",
    "test_bench_live.py",
    "test_bench_store.py",
    "test_contract.py",
    "test_known_time.py",
    "test_maintenance.py",
)
"""Files that take long go first, the longest first: the others fill what is left of the time on each core."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of long files first; the others stay in their order."""
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


def missing(reason: str) -> None:
    """Skip on a user's machine; fail where CI promises that everything is there."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must have it: {reason}")
    pytest.skip(reason)


def check_all(servers: Sequence[Server], concurrency: int = 100, **options: Any) -> dict[str, CheckResult]:
    """Check the servers with one real worker process; result by name, each server exactly once."""
    batches: list[Batch] = []
    limits = Limits(concurrency=concurrency, per_origin=30)
    with forked_workers():
        run_shards(Shards([Shard(tuple(servers))]), batches.append, RunnerOptions(limits=limits, **options))
    results = [check for batch in batches for check in batch.checks]
    assert sorted(check.server for check in results) == sorted(server.name for server in servers)
    return {check.server: check for check in results}


def workers_of(pid: int | None = None) -> list[psutil.Process]:
    """Worker processes below that one, by default below this: those that run, without what has ended meanwhile."""
    found = []
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(pid).children(recursive=True):
            with suppress(psutil.Error):
                if "checker.worker" in child.cmdline():
                    found.append(child)
    return found


@pytest.fixture
def status(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `mcp-status` as a process with a database of its own; gives what it printed and its exit code."""

    def run(*arguments: str | Path, env: dict[str, str] | None = None, text: bool = True) -> Any:
        environment = {**os.environ, "MCP_STATUS_DB": str(tmp_path / "history.db"), "COLUMNS": "200", **(env or {})}
        return commands.run([str(one) for one in arguments], ROOT, environment, text=text, timeout_s=110)

    return run


@pytest.fixture
def registry() -> Iterator[None]:
    """Forget the kinds of probes that the test registers: they are known to the whole process."""
    registries: tuple[dict[str, Any], ...] = (probe_kinds.KINDS, probe_kinds.OPERATIONS, probe_kinds.KIND_OF)
    before = [dict(one) for one in registries]
    yield
    for one, known in zip(registries, before, strict=True):
        one.clear()
        one.update(known)


@pytest.fixture(scope="session")
def real_url() -> Iterator[Callable[[str], str]]:
    """The address of one of the SDKs' own servers by its name; it is started once in a session."""
    started: dict[str, str] = {}
    with ExitStack() as stack:

        def url(name: str) -> str:
            if name not in started:
                try:
                    started[name] = stack.enter_context(running(SERVERS[name]))
                except NotInstalled as error:
                    missing(str(error))
            return started[name]

        yield url
