"""Programs of stdio servers: started in a minimal environment, spoken to in lines, removed without a trace.

A program that cannot run says so, and prints much else: warnings, frames, its launcher's output. Each line gets a
weight by its form; the heaviest is the telling one, or the last of several equally heavy ones.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from operator import itemgetter
from pathlib import Path

import gevent
import orjson
from gevent.os import make_nonblocking, nb_read, nb_write

from checker.late_patterns import late
from checker.model import Reason
from checker.probes.base import Budget, Command, ProbeFailure
from checker.processes.orphans import adopt_orphans
from checker.secrets.excerpts import excerpt
from checker.secrets.known_secrets import current
from checker.worker.greenlets import breathe
from checker.worker.transport.stdio_supervisor_client import Keeper, StartFailed, Supervised

_LONGEST_LINE = 2000
_LONGEST_MARK = 200
"""Characters of a line searched for its level or kind of error; no expression may take long over it."""
_LONGEST_LEVEL = 60
_LONGEST_TOLD = 300
_MOST_JOINED = 3
"""Lines after one that ends with a colon: the list it announces."""
_ESCAPE = late(r"\x1b(?:\[[0-?]{0,32}[ -/]{0,4}[@-~]|\][^\x07\x1b]{0,200}(?:\x07|\x1b\\)?|[@-Z\\^_])")
_FRAME_OF_BOX = late(r"^[\s│┃║╭╮╰╯─━┌┐└┘═▶├]*|[\s│┃║╭╮╰╯─━┌┐└┘═]*$")
_GROUPED = late(r"^ *\+-[+-]+(?: \d+ -+)?$|^(?: *[|+] ?)+")
"""The prefix of a line in an exception group's traceback (Python)."""
_LAUNCHER = late(r"^(?:npm (?:error|ERR!)|pnpm:?|yarn|error: script|ERR_PNPM\S*)\s*", re.IGNORECASE)
_LEVEL = late(
    r"\b(?:TRACE|DEBUG|INFO|NOTICE|WARN(?:ING)?)\b|(?i:\b(?:trace|debug|info|notice|warn(?:ing)?)(?:[:\]]|\s*\|)"
    r"|\blevel=(?:trace|debug|info|notice|warn))"
)
_NOISE = late(
    r"^(?:npm (?:warn|notice|info|http|verb|timing)|(?:npm (?:error|ERR!) +)?"
    r"(?:code|errno|syscall|path|command|dest|signal|\d{3})\b(?: \S+)?(?: (?:sh|cmd) .*)?$"
    r"|npm (?:error|ERR!) (?:A complete log|\s*/|path |command |This is probably not|\d{3} (?:Note|tarball|You))"
    r"|(?:npm (?:error|ERR!))?\s*$|Need to install the following|Ok to proceed|A complete log of this run"
    r"|\(node:\d+\)|\(Use `|Node\.js v\d|node:[\w/]+|\S+\.[cm]?[jt]s:\d+(?::\d+)?$|throw\b|Require stack:|\}|\{$"
    r"|Traceback \(|During handling of|The above exception|File \"|~*\^[~^]*$"
    r"|.{0,300}\bwarnings?\.warn\(|.{0,300}(?:Deprecat|Experimental|Future|User|Runtime|Resource)\w*Warning\b"
    r"|goroutine \d+|exit status \d+|created by |\S+\.go:\d+"
    r"|note: run with|stack backtrace|(?:Installed|Resolved|Prepared|Downloaded|Audited|Built|Uninstalled) \d+ package"
    r"|(?:Downloading|Downloaded|Building|Built|Installing|Resolving|Updating|Using) |added \d+ packages|Progress:"
    r"|(?:error )?Command failed with exit code|(?:.{0,100}ELIFECYCLE)|info Visit https|\$ |> "
    r"|Unable to find image|(?:\S+: )?(?:Pulling|Pull complete|Verifying|Download complete|Waiting|Digest:|Status:)"
    r"|(?:Process|Server|Program) exited|Exiting|Shutting down|Goodbye|Aborted!|Terminated|Killed"
    r"|(?:Try|See|Run) ['\"`].{0,120}(?:help|usage)|For (?:further|more) (?:information|help)"
    r"|at .{0,300}(?:\(|:\d|<anonymous>)"
    r"|\.{3} \d+ more|(?:error|warning|\W*)$)",
    re.IGNORECASE,
)
_ERROR = late(
    r"(?i:^\W{0,6}(?:(?:uncaught|unhandled|fatal|startup|internal|configuration) ){0,2}"
    r"(?:error|fatal|panic|critical|exception|failed|failure)\b)"
    r"|\b(?:ERROR|FATAL|CRITICAL|PANIC)\b|(?i:\b(?:error|fatal|panic|exception)\b\s{0,3}(?:[:\]|=-]))"
    r"|\b[A-Z]\w{0,60}(?:Error|Exception|Exit|Interrupt|Fault)\b"
)
_WANTS = late(
    r"\b(?:required?|requires|missing|must|no such|not (?:a|an) \w+|needs?|expected|please|provide|specify|supply"
    r"|not (?:set|found|provided|configured|defined|specified|available|installed|given|exist|permitted)"
    r"|un(?:set|defined|able|known|recogni[sz]ed|supported|authori[sz]ed)|cannot|can't|could not|couldn't"
    r"|failed|failure|invalid|denied|refused|rejected|is empty|already in use|doesn't exist|no module|no solution"
    r"|E[A-Z]{4,12})\b",
    re.IGNORECASE,
)
_VARIABLE = late(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b|(?:^|\s)--?[a-z][\w-]+")
_USAGE = late(r"^\W{0,4}usage\b", re.IGNORECASE)
_EXCEPTION = 5
"""The weight of the line below a traceback, whatever its name."""
_GROUP = late(r"\w*ExceptionGroup\b|unhandled errors in a TaskGroup", re.IGNORECASE)
_SAYS = ("message", "msg", "error", "err", "detail", "reason")
_MEANS = ("level", "severity", "levelname", "lvl")


def telling_line(text: str) -> tuple[int, str]:
    """The most informative line and its weight; 0 and nothing if there is none, 1 if it may be incidental.

    The text is already without secrets: the line is returned as it stands, up to 300 characters.
    """
    best, told = 0, ""
    lines = list(_lines(text))
    for place, (weight, line) in enumerate(lines):
        if line and weight >= best:
            best, told = weight, _with_what_it_announces(line, lines[place + 1 :])
    return best, told[:_LONGEST_TOLD]


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Each line with its weight; of a Python traceback only the lines after its frames."""
    in_traceback = is_exception = False
    for raw in _ESCAPE.sub("", text).splitlines():
        line = _GROUPED.sub("", raw[:_LONGEST_LINE])
        if "Traceback (most recent call last)" in line[:80]:
            in_traceback = True
            continue
        if in_traceback:
            if not line.strip() or line[0].isspace():
                continue
            in_traceback, is_exception = False, True
        bare = _FRAME_OF_BOX.sub("", line)
        if not any(one.isalnum() for one in bare):
            continue
        weight, said = _weighed(bare)
        yield (max(weight, _EXCEPTION) if is_exception and not _GROUP.match(said) else weight), said
        is_exception = False


def _weighed(line: str) -> tuple[int, str]:
    """A line in the form to report, and its weight."""
    level = ""
    if line.startswith("{") and line.endswith("}"):
        level, line = _of_record(line)
    if _NOISE.match(line[:_LONGEST_TOLD]):
        return 1, line
    said = _LAUNCHER.sub("", line) or line
    if _GROUP.match(said):
        return 3, said
    weight = 2
    if _USAGE.match(said):
        return 3, said
    wants = _WANTS.search(said[:_LONGEST_TOLD]) is not None
    if _ERROR.search(said[:_LONGEST_MARK]) or level in ("error", "fatal", "critical", "panic"):
        weight += 3
    if wants:
        weight += 3 if _VARIABLE.search(said[:_LONGEST_TOLD]) else 2
    if level in ("info", "debug", "trace", "notice", "warn", "warning") or _LEVEL.search(said[:_LONGEST_LEVEL]):
        weight -= 2
    return max(weight, 2), said


def _of_record(line: str) -> tuple[str, str]:
    """Level and message of a line of a JSON log; the line itself if it is not one."""
    try:
        record = orjson.loads(line)
    except ValueError:
        return "", line
    said = next((text for name in _SAYS if isinstance(text := record.get(name), str) and text.strip()), None)
    level = next((text for name in _MEANS if isinstance(text := record.get(name), str)), "")
    if said is None and isinstance(error := record.get("error"), dict) and isinstance(error.get("message"), str):
        said, level = error["message"], "error"
    return level.lower(), " ".join(said.split()) if said else line


def _with_what_it_announces(line: str, rest: list[tuple[int, str]]) -> str:
    """The line, with the list that it announces if it does: the missing variables, the fields."""
    if not line.endswith((":", "…")) and "validation error" not in line:
        return line
    for _, following in rest[:_MOST_JOINED]:
        if len(line) + len(following) >= _LONGEST_TOLD or _NOISE.match(following) or _USAGE.match(following):
            break
        line = f"{line} {following}"
    return line


_INHERITED = ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "USER", "TZ")
_MARK = "MCP_STATUS_STARTED"
"""Shows a user whose process it is; nothing depends on it."""
_READ_BYTES = 65536
_STDERR_BYTES = 4096
_STDERR_KEPT = 5 * _STDERR_BYTES
"""More than is shown: a secret that is cut in two is not found. As much is kept of standard output."""
_TOLD = 250
"""Characters of its last words that a detail quotes."""
_QUICK_S = 0.3
"""Time allowed for a program that has not answered to end, before the next way of ending it."""
_EXIT_CODE_S = 1.0
_DRAIN_S = 0.05
_PAUSE_S = 0.001
"""Pause between two reads of unwanted output: a program that writes all the time would keep the worker busy."""


class ProgramStarter:
    """Starts programs for `checker.worker.transport.programs`, and keeps track of them."""

    def __init__(self) -> None:
        self._keeper = Keeper()
        adopt_orphans()

    def start(self, command: Command, max_line: int, budget: Budget) -> StartedProcess:
        """Start a program; raises ProbeFailure if it cannot be started."""
        environ = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        environ |= {**command.env, _MARK: "1"}
        program = shutil.which(command.program, path=environ.get("PATH"))
        if program is None and command.cwd is not None and os.sep in command.program:
            program = shutil.which(str(Path(command.cwd) / command.program))
        if program is None:
            raise ProbeFailure(
                Reason.PROCESS_START, f"{command.program}: no such program in PATH; install it, or write its path"
            )
        theirs, ours = _three_pipes()
        try:
            started = self._keeper.start([program, *command.args], command.cwd, environ, theirs)
        except BaseException as error:
            for descriptor in ours:
                _close(descriptor)
            if isinstance(error, StartFailed | ValueError | OSError):
                said = getattr(error, "strerror", None) or str(error)
                detail = f"{command.program}: cannot be started: {said}"
                raise ProbeFailure(Reason.PROCESS_START, detail) from None
            raise
        finally:
            for descriptor in theirs:
                _close(descriptor)
        return StartedProcess(started, ours, command, max_line, budget)

    def kill_all(self) -> None:
        """Kill every program and its descendants: the worker is about to end."""
        self._keeper.end()


class StartedProcess:
    """Implements `checker.probes.base.Process`."""

    def __init__(
        self, program: Supervised, streams: Sequence[int], command: Command, max_line: int, budget: Budget
    ) -> None:
        self.budget = budget
        """The probe's remaining budget for data on either of its outputs."""
        self.has_output = False
        self._too_much: ProbeFailure | None = None
        self._program, self._command, self._max_line = program, command, max_line
        self._stderr, self._stdout = b"", b""
        self._pending, self._lines = bytearray(), deque[bytes]()
        self._in, self._out, self._err = streams
        for descriptor in (self._in, self._out, self._err):
            make_nonblocking(descriptor)
        self._reader = gevent.spawn(self._keep_stderr)

    @property
    def stderr_tail(self) -> str:
        """The last lines of standard error, without the secrets of the current probe."""
        text = current()(self._stderr.decode("utf-8", "replace"))[-_STDERR_BYTES:]
        lines = ["".join(c for c in line if c.isprintable() or c == "\t") for line in text.splitlines()]
        return "\n".join(lines[-20:]).strip()

    @property
    def last_words(self) -> str:
        """The line that explains the lack of an answer, from standard error or else standard output, without secrets.

        Empty if it wrote nothing but messages. A plain line counts from a running program as well as from one that
        ends.
        """
        said, printed = (telling_line(_masked_tail(kept)) for kept in (self._stderr, _no_messages(self._stdout)))
        return excerpt(max(said, printed, key=itemgetter(0))[1], _TOLD)

    def send(self, line: bytes) -> None:
        """Write a line to its standard input; raises ProbeFailure if it no longer reads."""
        view = memoryview(line + b"\n")
        try:
            while view:
                view = view[nb_write(self._in, view) :]
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.ECONNRESET):
                raise
            raise self._ended() from None

    def read_line(self) -> bytes:
        """The next line of its standard output; raises ProbeFailure past the size limit or when it has ended."""
        breathe()  # lines that come without end, such as empty ones
        while not self._lines:
            chunk = nb_read(self._out, _READ_BYTES)
            if self._too_much is not None:
                raise self._too_much
            self.has_output = True
            self._keep_stdout(chunk)
            self.budget.take(len(chunk))
            if not chunk:
                if self._pending.strip():
                    self._lines.append(bytes(self._pending))
                    self._pending.clear()
                    break
                raise self._ended()
            self._pending += chunk
            if b"\n" in chunk:
                *whole, rest = self._pending.split(b"\n")
                self._lines.extend(map(bytes, whole))
                self._pending = rest
            elif len(self._pending) > self._max_line:
                raise ProbeFailure(
                    Reason.BODY_TOO_LARGE, f"a line of more than {self._max_line} bytes on standard output"
                )
        return self._lines.popleft()

    def close(self, answered: bool) -> None:
        """Shut it down as the specification says: close its input, wait, SIGTERM, wait, SIGKILL; then its descendants.

        A program that has not ``answered`` is given less time.
        """
        patience_s = self._command.shutdown_s if answered else min(_QUICK_S, self._command.shutdown_s)
        try:
            _close(self._in)
            if not self._gone_within(patience_s):
                self._program.terminate()
                self._gone_within(patience_s)
        finally:
            draining = gevent.spawn(self._drain)
            self._program.end()
            draining.kill()
            with gevent.Timeout(_DRAIN_S, False):  # type: ignore[arg-type] # False means: end the block, raise nothing
                self._reader.join()
            self._reader.kill()
            _close(self._out)
            _close(self._err)

    def _ended(self) -> ProbeFailure:
        """The failure of a program that closed its output: with its exit code, if it has ended."""
        if not self._gone_within(_EXIT_CODE_S):
            return ProbeFailure(Reason.PROCESS_EXITED, "closed its standard output without ending")
        code = self._program.code
        if code is None:
            return ProbeFailure(Reason.PROCESS_EXITED, "ended the process that watches over it before it answered")
        ended = f"ended by signal {-code}" if code < 0 else f"exited with code {code}"
        return ProbeFailure(Reason.PROCESS_EXITED, f"{ended} before it answered")

    def _gone_within(self, seconds: float) -> bool:
        """True if the program ends in time; its output is read meanwhile, because a full pipe would block it."""
        draining = gevent.spawn(self._drain)
        try:
            return bool(self._program.ended.wait(seconds))
        finally:
            draining.kill()

    def _drain(self) -> None:
        with suppress(OSError):
            while chunk := nb_read(self._out, _READ_BYTES):
                self._keep_stdout(chunk)
                gevent.sleep(_PAUSE_S)

    def _keep_stdout(self, chunk: bytes) -> None:
        self._stdout = chunk[-_STDERR_KEPT:] if len(chunk) >= _STDERR_KEPT else (self._stdout + chunk)[-_STDERR_KEPT:]

    def _keep_stderr(self) -> None:
        try:
            while chunk := nb_read(self._err, _READ_BYTES):
                self._stderr = (self._stderr + chunk)[-_STDERR_KEPT:]
                self.budget.take(len(chunk))
                breathe()
        except ProbeFailure as failure:  # who waits for a line of its output hears of it when that ends
            self._too_much = failure
            self._program.terminate()
        except OSError:
            pass


def _masked_tail(kept: bytes) -> str:
    """The kept text without secrets; if its beginning was cut, also without the text next to the cut."""
    text = current()(kept.decode("utf-8", "replace"))
    return text[_STDERR_BYTES:] if len(kept) >= _STDERR_KEPT else text


def _no_messages(kept: bytes) -> bytes:
    """The lines of standard output that are not JSON-RPC messages; a first line that is cut may be one."""
    lines = kept.split(b"\n")
    if len(kept) >= _STDERR_KEPT:
        del lines[0]
    return b"\n".join(line for line in lines if not (line.lstrip()[:1] in (b"{", b"[") and b'"jsonrpc"' in line))


def _close(descriptor: int) -> None:
    with suppress(OSError):
        os.close(descriptor)


def _three_pipes() -> tuple[list[int], list[int]]:
    """The program's ends of its standard streams, and the worker's."""
    pipes: list[tuple[int, int]] = []
    try:
        pipes.extend(os.pipe() for _ in range(3))
    except OSError:
        for pipe in pipes:
            os.close(pipe[0])
            os.close(pipe[1])
        raise
    (in_read, in_write), (out_read, out_write), (err_read, err_write) = pipes
    return [in_read, out_write, err_write], [in_write, out_read, err_read]
