"""The line of a program's output that tells why it ended (pure).

A program that cannot run says so, and says much else: warnings, frames, the words of its launcher. Each line gets a
weight by what it looks like; the heaviest is the telling one, of equally heavy ones the last.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import orjson

_LONGEST_LINE = 2000
_LONGEST_MARK = 200
"""Of a line, in which its level or the kind of its error is looked for; no expression may take long over it."""
_LONGEST_LEVEL = 60
_LONGEST_TOLD = 300
_MOST_JOINED = 3
"""Lines below one that ends with a colon: what it announces."""
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]{0,32}[ -/]{0,4}[@-~]|\][^\x07\x1b]{0,200}(?:\x07|\x1b\\)?|[@-Z\\^_])")
_FRAME_OF_BOX = re.compile(r"^[\s│┃║╭╮╰╯─━┌┐└┘═▶├]*|[\s│┃║╭╮╰╯─━┌┐└┘═]*$")
_GROUPED = re.compile(r"^ *\+-[+-]+(?: \d+ -+)?$|^(?: *[|+] ?)+")
"""What stands before a line of an exception group's traceback (Python)."""
_LAUNCHER = re.compile(r"^(?:npm (?:error|ERR!)|pnpm:?|yarn|error: script|ERR_PNPM\S*)\s*", re.IGNORECASE)
_LEVEL = re.compile(
    r"\b(?:TRACE|DEBUG|INFO|NOTICE|WARN(?:ING)?)\b|(?i:\b(?:trace|debug|info|notice|warn(?:ing)?)(?:[:\]]|\s*\|)"
    r"|\blevel=(?:trace|debug|info|notice|warn))"
)
_NOISE = re.compile(
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
_ERROR = re.compile(
    r"(?i:^\W{0,6}(?:(?:uncaught|unhandled|fatal|startup|internal|configuration) ){0,2}"
    r"(?:error|fatal|panic|critical|exception|failed|failure)\b)"
    r"|\b(?:ERROR|FATAL|CRITICAL|PANIC)\b|(?i:\b(?:error|fatal|panic|exception)\b\s{0,3}(?:[:\]|=-]))"
    r"|\b[A-Z]\w{0,60}(?:Error|Exception|Exit|Interrupt|Fault)\b"
)
_WANTS = re.compile(
    r"\b(?:required?|requires|missing|must|no such|not (?:a|an) \w+|needs?|expected|please|provide|specify|supply"
    r"|not (?:set|found|provided|configured|defined|specified|available|installed|given|exist|permitted)"
    r"|un(?:set|defined|able|known|recogni[sz]ed|supported|authori[sz]ed)|cannot|can't|could not|couldn't"
    r"|failed|failure|invalid|denied|refused|rejected|is empty|already in use|doesn't exist|no module|no solution"
    r"|E[A-Z]{4,12})\b",
    re.IGNORECASE,
)
_VARIABLE = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b|(?:^|\s)--?[a-z][\w-]+")
_USAGE = re.compile(r"^\W{0,4}usage\b", re.IGNORECASE)
_EXCEPTION = 5
"""What the line below a traceback weighs, whatever its name."""
_GROUP = re.compile(r"\w*ExceptionGroup\b|unhandled errors in a TaskGroup", re.IGNORECASE)
_SAYS = ("message", "msg", "error", "err", "detail", "reason")
_MEANS = ("level", "severity", "levelname", "lvl")


def telling_line(text: str) -> tuple[int, str]:
    """The line that tells most, and its weight; 0 and nothing where there is none, 1 where it may be by the way.

    The text comes without secrets: what is given is as it stands there, up to 300 characters.
    """
    best, told = 0, ""
    lines = list(_lines(text))
    for place, (weight, line) in enumerate(lines):
        if line and weight >= best:
            best, told = weight, _with_what_it_announces(line, lines[place + 1 :])
    return best, told[:_LONGEST_TOLD]


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Each line with its weight; of a Python traceback only what follows its frames."""
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
    """A line as it is told, and how much it tells."""
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
    """Level and message of a line of a log in JSON; the line itself where it is none."""
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
    """The line, and where it announces something, what that is: the variables that are missing, the fields."""
    if not line.endswith((":", "…")) and "validation error" not in line:
        return line
    for _, following in rest[:_MOST_JOINED]:
        if len(line) + len(following) >= _LONGEST_TOLD or _NOISE.match(following) or _USAGE.match(following):
            break
        line = f"{line} {following}"
    return line
