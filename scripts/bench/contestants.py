"""Who is measured doing what: the registry of contestants, and the comparisons between two of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

PEERS = ("aiohttp==3.14.5", "geventhttpclient==2.6.1", "mcp==2.3.0", "uvloop==0.23.0")
"""Installed for the benchmark alone. urllib3, requests and gevent are those that this checker is built on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """A way to make checks; each is a process that makes ``checks`` of them, and once more only ``few``."""

    name: str
    words: str
    client: tuple[str, ...]
    """Script in the folder clients, with its arguments."""
    path: str
    counted: str
    """What the target counts exactly once for each check."""
    checks: int
    """As many as take a second or two of CPU on a slow machine."""
    few: int = 100
    against: str | None = None
    """The contestant whose rate the ratio is to."""
    peer: bool = False
    """Runs in the environment that PEERS are installed in."""
    program: str | None = None
    """Has to be on the PATH."""
    concurrency: int = 100
    in_quick: bool = True
    """Whether it is worth its time in a quick run."""
    quick_share: float = 0.2
    """Share of ``checks`` made in a quick run; more where starting takes long, else nothing can be told."""
    tls: bool = False
    cached: bool = False
    """Answers from what it remembers: the target is not to be asked in the run that is measured."""
    runs: int = 1
    """How often it is run in the same folder; only the last time is measured."""
    own_origins: bool = False
    """Each check goes to an origin of its own."""
    whole: bool = False
    """There is nothing to subtract: it is a command from its start to its end, of one server."""
    history_rows: int | None = None
    """Raw rows of probes of `HISTORY_SERVERS` servers in the database that it is run on; only where it is asked for."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How many times faster the first is than the second."""

    words: str
    first: str
    second: str
    by: Literal["cpu", "wall"]


HISTORY_SERVERS = 5_000

_REST: dict[str, Any] = {"path": "/health", "counted": "GET /health", "against": "urllib3"}
_MCP: dict[str, Any] = {"path": "/mcp", "counted": "tools/list", "against": "urllib3-mcp"}
_DIFFERENT: dict[str, Any] = {"path": "/mcp/{number}", "counted": "tools/list", "against": "urllib3-mcp-different"}
_MODERN: dict[str, Any] = {"path": "/modern", "counted": "tools/list", "against": "urllib3-modern"}
_OWN: dict[str, Any] = {**_REST, "own_origins": True, "against": "urllib3-own"}
_OWN_MCP: dict[str, Any] = {**_DIFFERENT, "own_origins": True, "against": "urllib3-own-mcp"}
_SLOW: dict[str, Any] = {"path": "/slow", "counted": "GET /slow"}
_CLOSE: dict[str, Any] = {"path": "/close", "counted": "GET /close"}
_TLS: dict[str, Any] = {**_CLOSE, "tls": True, "against": "urllib3-tls"}
_WORKER, _WHOLE, _URLLIB3 = ("with_worker.py",), ("with_checker.py",), ("with_urllib3.py",)
_TWO = (*_WHOLE, "--workers", "2")
_WORDS_WORKER, _WORDS_WHOLE = "this checker, one worker", "this checker, from YAML to stored rows"
_WORDS_URLLIB3 = "urllib3 and gevent, default settings"


def _fleet(servers: int, **options: Any) -> Contestant:
    """A fleet of so many servers, from its file to its rows."""
    given: dict[str, Any] = {**_REST, "client": _WHOLE, "in_quick": False, **options}
    name = f"fleet-{servers}" + ("-own" if given.get("own_origins") else "")
    words = f"{servers:,} servers" + (", each on its own origin" if given.get("own_origins") else "")
    return Contestant(**{"name": name, "words": words, "checks": servers, **given})


def _history(name: str, rows: int) -> Contestant:
    """A fleet whose database has a history of about that size."""
    return Contestant(
        name=f"history-{name}",
        words=f"a database of {name}",
        client=_WHOLE,
        checks=HISTORY_SERVERS,
        in_quick=False,
        history_rows=rows,
        **_REST,
    )


GROUPS = {
    "REST": (
        Contestant(name="checker-rest", words=_WORDS_WORKER, client=_WORKER, checks=20_000, **_REST),
        Contestant(
            name="checker-rest-run",
            words=_WORDS_WHOLE,
            client=_WHOLE,
            quick_share=0.5,
            checks=12_000,
            **_REST,
        ),
        Contestant(
            name="checker-rest-again",
            words="the same, second run on one database",
            client=_WHOLE,
            runs=2,
            checks=20_000,
            in_quick=False,
            **_REST,
        ),
        Contestant(name="urllib3", words=_WORDS_URLLIB3, client=_URLLIB3, checks=3_000, **_REST),
        Contestant(name="requests", words="requests and gevent", client=("with_requests.py",), checks=1_500, **_REST),
        Contestant(name="aiohttp", words="aiohttp", client=("with_aiohttp.py",), peer=True, checks=8_000, **_REST),
        Contestant(
            name="geventhttpclient",
            words="geventhttpclient",
            client=("with_geventhttpclient.py",),
            peer=True,
            checks=10_000,
            **_REST,
        ),
        Contestant(
            name="blackbox",
            words="blackbox_exporter",
            client=("with_blackbox.py",),
            peer=True,
            program="prometheus-blackbox-exporter",
            checks=1_500,
            **_REST,
        ),
    ),
    "MCP, session era": (
        Contestant(name="checker-mcp", words=_WORDS_WORKER, client=_WORKER, checks=3_000, **_MCP),
        Contestant(
            name="checker-mcp-run",
            words=_WORDS_WHOLE,
            client=_WHOLE,
            quick_share=0.5,
            checks=3_000,
            **_MCP,
        ),
        Contestant(
            name="checker-mcp-again",
            words="the same, second run on one database",
            client=_WHOLE,
            runs=2,
            checks=4_000,
            in_quick=False,
            **_MCP,
        ),
        Contestant(
            name="checker-mcp-cached",
            words="the same, reusing results of the last hour (--max-age)",
            client=("with_checker.py", "--max-age", "1h"),
            runs=2,
            cached=True,
            checks=10_000,
            in_quick=False,
            **_MCP,
        ),
        Contestant(name="urllib3-mcp", words=_WORDS_URLLIB3, client=_URLLIB3, checks=600, **_MCP),
        Contestant(
            name="mcp-sdk",
            words="official SDK, as documented",
            client=("with_mcp_sdk.py",),
            peer=True,
            checks=40,
            few=4,
            concurrency=10,
            in_quick=False,
            **_MCP,
        ),
        Contestant(
            name="mcp-sdk-shared",
            words="official SDK, one HTTP client for all",
            client=("with_mcp_sdk.py", "--share"),
            peer=True,
            checks=120,
            quick_share=1.0,
            few=4,
            concurrency=10,
            **_MCP,
        ),
    ),
    "MCP, session era, every server with another contract": (
        Contestant(
            name="checker-mcp-different",
            words=_WORDS_WORKER,
            client=_WORKER,
            checks=3_000,
            in_quick=False,
            **_DIFFERENT,
        ),
        Contestant(
            name="checker-mcp-different-run",
            words=_WORDS_WHOLE,
            client=_WHOLE,
            checks=3_000,
            in_quick=False,
            **_DIFFERENT,
        ),
        Contestant(
            name="checker-mcp-different-again",
            words="the same, second run on one database",
            client=_WHOLE,
            runs=2,
            checks=4_000,
            in_quick=False,
            **_DIFFERENT,
        ),
        Contestant(
            name="urllib3-mcp-different",
            words=_WORDS_URLLIB3,
            client=_URLLIB3,
            checks=600,
            in_quick=False,
            **_DIFFERENT,
        ),
    ),
    "MCP, sessionless era (2026-07-28)": (
        Contestant(name="checker-modern", words=_WORDS_WORKER, client=_WORKER, checks=6_000, **_MODERN),
        Contestant(
            name="urllib3-modern",
            words=_WORDS_URLLIB3,
            client=_URLLIB3,
            checks=1_500,
            **_MODERN,
        ),
    ),
    "REST, each server on its own origin": (
        Contestant(name="checker-own", words=_WORDS_WORKER, client=_WORKER, checks=5_000, **_OWN),
        Contestant(name="checker-own-run", words=_WORDS_WHOLE, client=_WHOLE, checks=4_000, in_quick=False, **_OWN),
        Contestant(name="urllib3-own", words=_WORDS_URLLIB3, client=_URLLIB3, checks=2_000, **_OWN),
    ),
    "MCP, each server on its own origin, with another contract": (
        Contestant(
            name="checker-own-mcp", words=_WORDS_WORKER, client=_WORKER, checks=1_000, in_quick=False, **_OWN_MCP
        ),
        Contestant(
            name="urllib3-own-mcp", words=_WORDS_URLLIB3, client=_URLLIB3, checks=600, in_quick=False, **_OWN_MCP
        ),
    ),
    "REST, the target takes 20 ms": (
        Contestant(
            name="checker-sequential",
            words="this checker, sequential",
            client=_WORKER,
            checks=60,
            quick_share=1.0,
            few=4,
            concurrency=1,
            **_SLOW,
        ),
        Contestant(
            name="checker-concurrent",
            words="this checker, 200 concurrent",
            client=_WORKER,
            checks=4_200,
            quick_share=0.5,
            few=200,
            concurrency=200,
            **_SLOW,
        ),
    ),
    "REST, a connection for each check": (
        Contestant(
            name="checker-cold",
            words=_WORDS_WORKER,
            client=_WORKER,
            checks=8_000,
            against="urllib3-cold",
            **_CLOSE,
        ),
        Contestant(
            name="urllib3-cold",
            words=_WORDS_URLLIB3,
            client=_URLLIB3,
            checks=2_000,
            against="urllib3-cold",
            **_CLOSE,
        ),
    ),
    "REST over TLS, a connection for each check": (
        Contestant(name="checker-tls", words=_WORDS_WORKER, client=_WORKER, checks=1_500, **_TLS),
        Contestant(name="urllib3-tls", words=_WORDS_URLLIB3, client=_URLLIB3, checks=1_000, **_TLS),
    ),
}
"""Title of a table of rates -> its rows."""

GROWTH = {
    "REST, from the file to stored rows: fleets of": (
        *(_fleet(servers) for servers in (5_000, 10_000, 50_000)),
        *(_fleet(servers, **_OWN) for servers in (5_000, 50_000)),
    ),
    "REST, from the file to stored rows: 10,000 servers": (
        _fleet(10_000, name="fleet-two-workers", words="two workers, fed by one parent, first run", client=_TWO),
        _fleet(
            10_000, name="fleet-two-workers-again", words="the same, second run on one database", client=_TWO, runs=2
        ),
    ),
    f"REST, from the file to stored rows: {HISTORY_SERVERS:,} servers, before whose run there is": (
        _history("1MB", 0),
        _history("1GB", 7_500_000),
        _history("10GB", 84_000_000),
    ),
}
"""Title of a table of what a check costs each process -> its rows."""

_COMMAND: dict[str, Any] = {"path": "/health", "checks": 1, "few": 1, "whole": True}
START = {
    "A whole command": (
        Contestant(
            name="start-help", words="`--help`", client=("with_command.py", "help"), counted="", cached=True, **_COMMAND
        ),
        Contestant(
            name="start-first",
            words="one server, from its file to the end",
            client=("with_command.py", "check"),
            counted="GET /health",
            **_COMMAND,
        ),
        Contestant(
            name="start-second",
            words="the same, second run on one database",
            client=("with_command.py", "check"),
            counted="GET /health",
            runs=2,
            **_COMMAND,
        ),
        Contestant(
            name="start-100",
            words="100 servers, first run",
            client=("with_command.py", "check"),
            counted="GET /health",
            **{**_COMMAND, "checks": 100},
        ),
    ),
}
"""Title of a table of what a command costs from its start to its end -> its rows."""

CONTESTANTS = {one.name: one for groups in (GROUPS, GROWTH, START) for group in groups.values() for one in group}


COMPARISONS = (
    Comparison("200 concurrent checks instead of sequential ones", "checker-concurrent", "checker-sequential", "wall"),
    Comparison("a kept-alive connection instead of a new one", "checker-rest", "checker-cold", "cpu"),
    Comparison(
        "a second run on the same database, era and contracts known, instead of a first",
        "checker-mcp-again",
        "checker-mcp-run",
        "cpu",
    ),
    Comparison("an earlier result reused instead of a check", "checker-mcp-cached", "checker-mcp-run", "cpu"),
    Comparison("a TLS session resumed instead of a handshake with urllib3", "checker-tls", "urllib3-tls", "cpu"),
)
