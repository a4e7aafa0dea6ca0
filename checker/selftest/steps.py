"""The steps of the selftest: a fleet of its own servers, checked by the real command, and what must come of it."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import orjson

from checker.selftest import loopback, mcp_replies
from checker.selftest.commands import COLUMNS, EndedCommand, command, command_on_terminal, words_of
from checker.selftest.loopback import LoopbackServer
from checker.structs import Record

_WORKERS, _CROWD, _AT_ONCE = 2, 40, 4
_WAIT_S = 0.4
_RUN_S = 30.0
_AT_LEAST_ONE_FAILED = 2
_REINSTALL = "install it again: pip install --force-reinstall mcp-status-check"
_REPORT = "report it, with what `mcp-status selftest --format json` prints"
_LOOPBACK = "let this program connect to 127.0.0.1: look at the sandbox, container or firewall that it runs in"
_ENDED_S = 5.0
_FAILURES = {
    "refused": "connect_refused",
    "error 503": "http_status",
    "no reply": "first_byte_timeout",
}
"""Server that does not work -> the reason that a check has to tell."""


class StepResult(Record, frozen=True, kw_only=True):
    """How one step came out."""

    step: str
    title: str
    status: str
    """`passed`, `failed`, or `skipped` if a step that it needs has failed."""
    took_ms: int
    found: str
    """What came, in a few words."""
    expected: str | None = None
    """Of a step that failed: what should have come."""
    remedy: str | None = None
    """Of a step that failed: what to do."""


class StepFailed(Exception):
    """Something came out otherwise than it should; ``found`` and ``expected`` say how, ``remedy`` what to do."""

    def __init__(self, found: str, expected: str, remedy: str) -> None:
        super().__init__(found)
        self.found, self.expected, self.remedy = found, expected, remedy


class _Needed(Exception):
    """The step needs another one that has failed."""


def run_steps() -> Generator[StepResult, None, None]:
    """Each step's result as it comes; everything that was started or written is gone once the last was taken.

    Closing the iterator early, and any exception in it, such as KeyboardInterrupt, ends what is running too.
    """
    with ExitStack() as stack:
        trial = _Trial(stack)
        for name, (title, step) in _STEPS.items():
            begin_s = time.monotonic()
            told: dict[str, Any] = {"status": "passed"}
            try:
                told["found"] = step(trial)
            except StepFailed as failed:
                told = {
                    "status": "failed",
                    "found": failed.found,
                    "expected": failed.expected,
                    "remedy": failed.remedy,
                }
            except _Needed as needed:
                told = {"status": "skipped", "found": f"needs the step {needed}"}
            except Exception as error:  # such as a package that cannot be imported: what a selftest is there to find
                said = f"{type(error).__name__}: {error}"
                told = {
                    "status": "failed",
                    "found": said,
                    "expected": "no error",
                    "remedy": f"{_REINSTALL}; else {_REPORT}",
                }
            yield StepResult(step=name, title=title, took_ms=round((time.monotonic() - begin_s) * 1000), **told)


class _Trial:
    """What the steps share: a temporary folder, the servers, and what the first run found."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self._folder: Path | None = None
        self._servers: dict[str, LoopbackServer] = {}
        self._document: dict[str, Any] | None = None
        self.second_run: int | None = None

    @property
    def folder(self) -> Path:
        """The temporary folder."""
        if self._folder is None:
            raise _Needed("files")
        return self._folder

    @property
    def database(self) -> Path:
        """The history of the runs."""
        return self.folder / "history.db"

    @property
    def fleet(self) -> Path:
        """The configuration of the runs."""
        return self.folder / "fleet.yaml"

    @property
    def servers(self) -> Mapping[str, LoopbackServer]:
        """The servers: `one` for single checks, `crowd` for many at once, `https`."""
        if not self._servers:
            raise _Needed("loopback")
        return self._servers

    @property
    def document(self) -> dict[str, Any]:
        """What the first run printed."""
        if self._document is None:
            raise _Needed("run")
        return self._document

    def check_of(self, server: str) -> dict[str, Any]:
        """The check of a server in the first run."""
        return next((check for check in self.document["checks"] if check["server"] == server), {})

    def take_folder(self, folder: Path) -> None:
        """Use this folder."""
        self._folder = folder

    def take_servers(self, servers: dict[str, LoopbackServer]) -> None:
        """Use these servers."""
        self._servers = servers

    def take_document(self, document: dict[str, Any]) -> None:
        """Use what a run printed."""
        self._document = document


def _files(trial: _Trial) -> str:
    try:
        made = trial.stack.enter_context(tempfile.TemporaryDirectory(prefix="mcp-status-selftest-"))
    except OSError as error:
        raise StepFailed(
            f"no temporary folder: {error.strerror or error}",
            "a folder in which files can be written",
            "name one that is writable: TMPDIR=/path mcp-status selftest",
        ) from None
    trial.take_folder(Path(made))
    return f"a temporary folder in {Path(made).parent}"


def _loopback(trial: _Trial) -> str:
    certificate = trial.folder / "certificate.pem"
    try:
        context = loopback.tls_context(certificate)
        made = {"one": LoopbackServer(), "crowd": LoopbackServer(), "https": LoopbackServer(context)}
        for server in made.values():
            trial.stack.enter_context(server)
        with socket.create_connection((loopback.HOST, made["one"].port), _RUN_S) as connection:
            connection.sendall(b"GET /health HTTP/1.0\r\n\r\n")
            answer = connection.recv(100)
    except OSError as error:
        raise StepFailed(
            error.strerror or str(error), "servers that listen on 127.0.0.1 and answer", _LOOPBACK
        ) from None
    if not answer.startswith(b"HTTP/1.1 200"):
        raise StepFailed(repr(answer[:60]), "HTTP 200 from our own server", f"see what answers on 127.0.0.1; {_REPORT}")
    trial.take_servers(made)
    return f"{len(made)} servers listen on {loopback.HOST} and answer"


def _configuration(trial: _Trial, refusing_port: int) -> dict[str, Any]:
    """The fleet: each kind of server once, three that do not work, and a crowd at one address."""
    one, crowd, https = (trial.servers[name] for name in ("one", "crowd", "https"))
    program = [sys.executable, "-I", str(Path(mcp_replies.__file__))]
    trusted = {"url": https.url(loopback.HEALTH), "tls": {"ca_file": str(trial.folder / "certificate.pem")}}
    servers: list[dict[str, Any]] = [
        {"name": "rest", "rest": one.url(loopback.HEALTH)},
        {"name": "session", "mcp": one.url(loopback.SESSION)},
        {"name": "sessionless", "mcp": one.url(loopback.SESSIONLESS)},
        {"name": "stdio", "mcp": {"command": program[0], "args": program[1:]}},
        {"name": "https", "rest": trusted},
        {"name": "not trusted", "rest": https.url(loopback.HEALTH)},
        {"name": "refused", "rest": f"http://{loopback.HOST}:{refusing_port}/"},
        {"name": "error 503", "rest": one.url(loopback.BROKEN)},
        {"name": "no reply", "rest": {"url": one.url(loopback.SILENT), "timeout": _WAIT_S}},
        *({"name": f"crowd {number}", "rest": crowd.url(loopback.SLOW)} for number in range(1, _CROWD + 1)),
    ]
    pace = {"batch_size": _CROWD // 4, "jitter": 0, "adaptive": False}
    run = {"workers": _WORKERS, "per_origin": _AT_ONCE, "pace": pace, "limits": {"queue_wait": 5, "lag": _RUN_S}}
    return {"run": run, "servers": servers}


def _run(trial: _Trial) -> str:
    trial.servers  # noqa: B018 # raises where there are none
    with _refusing_port() as port:
        trial.fleet.write_bytes(orjson.dumps(_configuration(trial, port)))
        arguments = ("check", str(trial.fleet), "--format", "json", "--db", str(trial.database))
        ended = command(arguments, trial.folder, _RUN_S)
    try:
        document = orjson.loads(ended.printed)
    except orjson.JSONDecodeError:
        raise _failed_command(ended) from None
    if ended.code != _AT_LEAST_ONE_FAILED:
        raise _failed_command(ended)
    trial.take_document(document)
    run = document["run"]
    return f"{run['servers_checked']} servers checked by {run['workers']} workers in {run['duration_ms']} ms"


@contextmanager
def _refusing_port() -> Iterator[int]:
    """A port that is taken, so that nobody else listens there, and refuses connections."""
    with closing(socket.socket()) as bound:
        bound.bind((loopback.HOST, 0))
        yield bound.getsockname()[1]


def _failed_command(ended: EndedCommand) -> StepFailed:
    said = " ".join(ended.errors.split())[-500:]
    code = "no end within its time" if ended.code is None else f"exit code {ended.code}"
    return StepFailed(
        f"{code}: {said or 'no message'}", f"`mcp-status check` ends with {_AT_LEAST_ONE_FAILED}", _REINSTALL
    )


def _is_healthy(trial: _Trial, server: str, **facts: str) -> dict[str, Any]:
    """The check of a server that is healthy, with these facts in its MCP block; raises StepFailed."""
    check = trial.check_of(server)
    known = (check.get("probes") or [{}])[0].get("mcp") or {}
    found = {name: known.get(name) for name in facts}
    if check.get("status") == "HEALTHY" and found == facts:
        return check
    told = ", ".join(f"{name} {value}" for name, value in found.items() if value != facts[name])
    raise StepFailed(
        f"{_told(check)}{'; ' if told else ''}{told}",
        ", ".join(("HEALTHY", *(f"{name} {value}" for name, value in facts.items()))),
        _of_status(check),
    )


def _told(check: Mapping[str, Any]) -> str:
    words = (check.get("status", "no result"), check.get("reason"), check.get("detail"))
    return " ".join(word for word in words if word)


def _of_status(check: Mapping[str, Any]) -> str:
    if check.get("reason") in ("resource_limit", "deadline") or check.get("suspect"):
        return f"the machine is short of time or memory: try again when it is less busy; else {_REPORT}"
    return _REPORT


def _rest(trial: _Trial) -> str:
    return f"HEALTHY in {_is_healthy(trial, 'rest')['duration_ms']:.0f} ms"


def _mcp_session(trial: _Trial) -> str:
    _is_healthy(trial, "session", era="session", protocol_version=mcp_replies.SESSION_VERSION)
    one = trial.servers["one"]
    if one.sessions_opened == 0 or one.open_sessions:
        found = f"{one.sessions_opened} opened, {len(one.open_sessions)} left open"
        raise StepFailed(found, "every session that is opened is ended", _REPORT)
    return f"{mcp_replies.SESSION_VERSION}, HEALTHY; session opened and ended"


def _mcp_sessionless(trial: _Trial) -> str:
    _is_healthy(trial, "sessionless", era="sessionless", protocol_version=mcp_replies.SESSIONLESS_VERSION)
    return f"{mcp_replies.SESSIONLESS_VERSION}, HEALTHY"


def _stdio(trial: _Trial) -> str:
    check = _is_healthy(trial, "stdio", transport="stdio")
    return f"a program was started, asked and ended in {check['duration_ms']:.0f} ms"


def _https(trial: _Trial) -> str:
    _is_healthy(trial, "https")
    other = trial.check_of("not trusted")
    if other.get("reason") != "tls_verify":
        raise StepFailed(
            f"an unknown authority's certificate: {_told(other)}",
            "UNHEALTHY tls_verify",
            f"do not rely on https checks; {_REPORT}",
        )
    return "a trusted certificate is accepted, an unknown one refused"


def _failures(trial: _Trial) -> str:
    for server, reason in _FAILURES.items():
        check = trial.check_of(server)
        if (check.get("status"), check.get("reason")) != ("UNHEALTHY", reason):
            raise StepFailed(f"{server}: {_told(check)}", f"UNHEALTHY {reason}", _of_status(check))
    return ", ".join(_FAILURES.values())


def _pools(trial: _Trial) -> str:
    trial.document  # noqa: B018 # raises where there is none
    crowd = trial.servers["crowd"]
    asked, opened = crowd.requests.total(), crowd.connections
    if asked != _CROWD or opened > _AT_ONCE:
        raise StepFailed(
            f"{asked} requests over {opened} connections", f"{_CROWD} over at most {_AT_ONCE}, used again", _REPORT
        )
    return f"{asked} requests over {opened} connections"


def _limits(trial: _Trial) -> str:
    trial.document  # noqa: B018 # raises where there is none
    most = trial.servers["crowd"].most_at_once
    if most > _AT_ONCE:
        raise StepFailed(f"{most} requests at once", f"at most {_AT_ONCE}, over all workers", _REPORT)
    return f"at most {most} requests at once; {_AT_ONCE} were allowed"


def _batches(trial: _Trial) -> str:
    found = Counter(check["server"] for check in trial.document["checks"])
    wanted = [server["name"] for server in orjson.loads(trial.fleet.read_bytes())["servers"]]
    wrong = [name for name in wanted if found[name] != 1]
    if wrong or len(found) != len(wanted):
        raise StepFailed(f"not one result each: {', '.join(wrong[:5])}", "one result for every server", _REPORT)
    shares = " and ".join(str(worker["checks"]) for worker in trial.document["measures"]["workers"])
    return f"one result for each of {len(wanted)} servers; by worker: {shares}"


def _terminal(trial: _Trial) -> str:
    """The second run, which takes the first one's results, as it is shown on a terminal."""
    trial.document  # noqa: B018 # raises where there is none
    arguments = ("check", str(trial.fleet), "--max-age", "1h", "--db", str(trial.database))
    ended = command_on_terminal(arguments, trial.folder, _RUN_S)
    if ended.code != _AT_LEAST_ONE_FAILED:
        raise _failed_command(ended)
    trial.second_run = trial.document["run"]["id"] + 1
    lines = words_of(ended.printed)
    if wide := [line for line in lines if len(line) > COLUMNS]:
        found = f"a line of {len(wide[0])} columns: {wide[0].strip()[:60]}"
        raise StepFailed(found, f"no line is wider than the terminal, {COLUMNS} columns", _REPORT)
    shown = "".join("".join(lines).split())
    if lost := [reason for reason in (*_FAILURES.values(), "tls_verify") if reason not in shown]:
        raise StepFailed(f"not shown: {', '.join(lost)}", "every reason in full", _REPORT)
    return f"{len(lines)} lines fit {COLUMNS} columns, every reason in full"


def _caches(trial: _Trial) -> str:
    from storage.history import open_history

    if trial.second_run is None:
        raise _Needed("terminal")
    crowd, run_id = trial.servers["crowd"], trial.second_run
    with open_history(trial.database) as history:
        run, measures = history.run(run_id), history.measures_of_run(run_id)
    hits = {cache.category: cache.hits for cache in measures.caches}
    wanted = len(trial.document["checks"])
    if run.servers_cached != wanted or crowd.requests.total() > _CROWD:
        found = f"{run.servers_cached} results reused, {crowd.requests.total() - _CROWD} requests sent again"
        raise StepFailed(found, f"--max-age reuses all {wanted} results and sends nothing", _REPORT)
    if not hits.get("config"):
        raise StepFailed(
            "the configuration was read anew", "an unchanged configuration is taken from the cache", _REPORT
        )
    return f"{run.servers_cached} results and the configuration reused, nothing sent"


def _store(trial: _Trial) -> str:
    from storage.database_file import faults
    from storage.sql import ask

    trial.document  # noqa: B018 # raises where there is none
    disk = f"check the disk that holds {tempfile.gettempdir()}; {_REPORT}"
    if found := faults(trial.database, quick=False):
        raise StepFailed("; ".join(found[:3]), "an intact file", disk)
    with ask(trial.database, "select status, count(*) from latest_status group by 1 order by 1", _RUN_S) as answer:
        counts: dict[str, int] = dict(answer.rows)
    wanted = {status: number for status, number in trial.document["run"]["counts"].items() if number}
    if counts != wanted:
        raise StepFailed(f"SQL counts {counts}", f"as the run: {wanted}", disk)
    size = trial.database.stat().st_size
    return f"intact, {size // 1024} KiB; SQL counts " + ", ".join(
        f"{number} {status}" for status, number in counts.items()
    )


def _processes(trial: _Trial) -> str:
    workers = [worker["pid"] for worker in trial.document["measures"]["workers"]]
    until_s = time.monotonic() + _ENDED_S
    while (left := [pid for pid in workers if _is_running(pid)]) and time.monotonic() < until_s:
        time.sleep(0.05)
    if left:
        raise StepFailed(f"still running: {left}", "every worker ends with its run", f"end them with kill; {_REPORT}")
    return f"all {len(workers)} workers have ended"


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


_STEPS: dict[str, tuple[str, Callable[[_Trial], str]]] = {
    "files": ("temporary files", _files),
    "loopback": ("loopback", _loopback),
    "run": ("run with workers", _run),
    "rest": ("REST", _rest),
    "mcp_session": ("MCP, session era", _mcp_session),
    "mcp_sessionless": ("MCP, sessionless era", _mcp_sessionless),
    "stdio": ("MCP over stdio", _stdio),
    "https": ("HTTPS", _https),
    "failures": ("failures told apart", _failures),
    "pools": ("connection pools", _pools),
    "limits": ("limits", _limits),
    "batches": ("batches", _batches),
    "terminal": ("terminal", _terminal),
    "caches": ("caches", _caches),
    "store": ("store", _store),
    "processes": ("nothing left running", _processes),
}
"""Step -> its title, and what makes it and says in a few words what came."""
