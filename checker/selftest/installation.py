"""What the program runs with here, and what is missing for which of its features."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import orjson

from checker.selftest.commands import environment, program
from checker.structs import Record
from checker.version import VERSION

_LOOK_S = 20.0
_OPEN_FILES = 1024
"""A run of 500 checks at once opens about as many connections, and some files."""
_STARTERS = {"npx": "Node.js", "uvx": "uv", "docker": "Docker"}
"""Program that starts many stdio servers -> what brings it."""
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


class Feature(Record, frozen=True, kw_only=True):
    """Something that works only where something else is there."""

    feature: str
    is_available: bool
    found: str
    remedy: str | None = None
    """What to do to have it; None if it is there."""


def runtime(worker: Mapping[str, Any]) -> dict[str, str]:
    """What the program runs with, each in a few words; ``worker`` are the facts of `worker_facts`."""
    from storage.sqlite_driver import driver

    library = driver()
    facts = {
        "program": f"mcp-status {VERSION} in {Path(__file__).resolve().parents[2]}",
        "python": f"{platform.python_implementation()} {platform.python_version()}, {sys.executable}",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}, {os.cpu_count() or 1} cores",
        "sqlite": f"{library.sqlite_version}, from {library.__name__.partition('.')[0]}",
    }
    if worker:
        facts["gevent"] = f"{worker['gevent']}, loop {worker['loop']} with {worker['poll']}"
        facts["tls"] = f"{worker['tls']}, {worker['authorities']} authorities from {worker['authorities_file']}"
        facts["http"] = f"httptools {worker['httptools']}, urllib3 {worker['urllib3']}"
    facts["terminal"] = _terminal()
    if set_here := [name for name in _PROXIES if os.environ.get(name) or os.environ.get(name.lower())]:
        facts["proxy"] = f"{', '.join(set_here)} not used: checks go through a proxy only where a configuration says so"
    return facts


def worker_facts() -> dict[str, Any]:
    """What a worker process runs with; empty if it cannot be asked."""
    words = program("checker.worker.transport.runtime_facts")
    try:
        done = subprocess.run(words, env=environment(), capture_output=True, check=True, timeout=_LOOK_S)  # noqa: S603 # ours
        found: dict[str, Any] = orjson.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return {}
    return found


def features(worker: Mapping[str, Any], database: Path) -> Iterator[Feature]:
    """What depends on more than the package itself; ``database`` is where results are kept by default."""
    yield _kept_history(database)
    yield _wal()
    if worker:
        authorities = int(worker["authorities"])
        yield Feature(
            feature="https certificates verified",
            is_available=authorities > 0,
            found=f"{authorities} authorities",
            remedy=None
            if authorities
            else "install the system's (apt-get install ca-certificates), or name a file: tls: {ca_file: ...}",
        )
        for coding, named in (("br", "Brotli"), ("zstd", "Zstandard")):
            known = coding in worker["codings"]
            yield Feature(
                feature=f"replies compressed with {named}",
                is_available=known,
                found="decoded" if known else "no decoder",
                remedy=None if known else 'pip install "mcp-status-check[codings]"',
            )
    yield _charts()
    yield _open_files()
    for name, brings in _STARTERS.items():
        place = shutil.which(name)
        yield Feature(
            feature=f"stdio servers started with {name}",
            is_available=place is not None,
            found=place or "not found",
            remedy=None if place else f"install {brings}, if a server of yours is started with it",
        )


def _kept_history(database: Path) -> Feature:
    writable = _is_writable(database)
    return Feature(
        feature="history kept in the default place",
        is_available=writable,
        found=f"{database}" + ("" if writable else " cannot be written"),
        remedy=None if writable else "name another file with --db, or in the variable MCP_STATUS_DB",
    )


def _is_writable(database: Path) -> bool:
    """True if the file can be written, or made together with the folders that are not there yet."""
    try:
        there = next(one for one in (database, *database.absolute().parents) if one.exists())
        if there.is_dir():
            return os.access(there, os.W_OK | os.X_OK)
        return there == database and os.access(there, os.R_OK | os.W_OK)
    except OSError:  # a folder on the way that may not even be looked into
        return False


def _wal() -> Feature:
    from storage.connections import wal_is_safe
    from storage.sqlite_driver import driver

    library = driver()
    safe = wal_is_safe(tuple(library.sqlite_version_info))
    return Feature(
        feature="history read while a run writes",
        is_available=safe,
        found=f"SQLite {library.sqlite_version}" + ("" if safe else ": a write-ahead log is not safe in it"),
        remedy=None if safe else "a Python with SQLite 3.51.3 or newer; until then, readers and writers wait",
    )


def _charts() -> Feature:
    try:
        found = version("matplotlib")
    except PackageNotFoundError:
        return Feature(
            feature="charts in HTML reports",
            is_available=False,
            found="matplotlib not found",
            remedy="pip install matplotlib",
        )
    return Feature(feature="charts in HTML reports", is_available=True, found=f"matplotlib {found}")


def _open_files() -> Feature:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = soft == resource.RLIM_INFINITY or soft >= _OPEN_FILES
    more = f"ulimit -n {hard if hard > soft else _OPEN_FILES}"
    return Feature(
        feature="500 checks at once",
        is_available=enough,
        found="no limit of open files" if soft == resource.RLIM_INFINITY else f"{soft:,} open files allowed",
        remedy=None if enough else f"`{more}` before it, or run.concurrency: {max(1, soft // 2)}",
    )


def _terminal() -> str:
    if not sys.stdout.isatty():
        return f"standard output is none; {sys.stdout.encoding}"
    columns = shutil.get_terminal_size().columns
    return f"{columns} columns, {os.environ.get('TERM', 'no TERM')}, {sys.stdout.encoding}"
