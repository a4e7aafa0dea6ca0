"""Servers given on the command line without a file: addresses and commands, and the names derived from them."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import urlsplit

from msgspec.structs import replace

from checker.errors import ConfigError, UsageError
from checker.model import Server
from checker.probe_kinds import FLAGS, KINDS, in_words
from checker.probes import probe_of
from checker.probes.http import shown_endpoint
from checker.secrets.sensitive_names import in_arguments
from checker.settings.targets import CheckTarget

_LONGEST = 60
_DEEPEST = 5
"""Limit on launchers that start launchers."""
_PLAIN_PATH = re.compile(r"/?|/(?:mcp|sse|health|healthz|livez|readyz|ping|status|up)/?")
_FILE = re.compile(r"\.(?:py|pyz|[cm]?[jt]sx?|rb|php|jar|dll|sh|exe|go|pl|lua|R)\Z")
_BARE = re.compile(r"[\w@%+=:,./~-]+")
"""Words that need no quotes in a name."""
_MOUNT = re.compile(r"(?:[A-Za-z]:|~|\.{1,2})?/[\w./-]{0,200}:/[\w./-]{0,200}(?::[a-z,]{1,20})?", re.ASCII)
"""Two paths, which cannot be a password."""
_BINARIES = frozenset(("bin", ".bin", "sbin", "Scripts"))
_SHELLS = frozenset(("sh", "bash", "zsh", "dash", "ksh", "ash", "fish"))
_PASS_ON = frozenset(
    ("sudo", "doas", "nice", "ionice", "nohup", "setsid", "time", "timeout", "stdbuf", "xvfb-run", "exec")
)
"""Programs that run the rest of their arguments."""
_PASSED_ON_TAKES = frozenset(("-u", "-g", "-n", "-c", "-k", "-s", "-o", "-e", "-i", "--adjustment", "--signal"))
_PACKAGES: dict[tuple[str, ...], str] = {
    # the words that start a package's program: their options that take a value
    ("npx",): "-p --package -c --call --registry --prefix --cache -w --workspace --node-options",
    ("npm", "exec"): "-p --package -c --call --registry --prefix --cache -w --workspace",
    ("npm", "x"): "-p --package -c --call --registry --prefix --cache",
    ("pnpx",): "--package --registry",
    ("pnpm", "dlx"): "--package --registry",
    ("pnpm", "exec"): "--filter --dir",
    ("yarn", "dlx"): "-p --package",
    ("bunx",): "-p --package",
    ("bun", "x"): "-p --package",
    ("bun", "run"): "--cwd -r --preload --env-file",
    ("bun",): "--cwd -r --preload --env-file",
    ("deno", "run"): "-c --config --import-map --env-file -L --log-level",
    ("uvx",): "--from --with --with-editable --with-requirements -p --python --index --index-url --default-index "
    "-i --extra-index-url -f --find-links -c --constraints --env-file --directory --project --refresh-package",
    (
        "uv",
        "tool",
        "run",
    ): "--from --with --with-editable -p --python --index --index-url --env-file --directory --project",
    (
        "uv",
        "run",
    ): "--with --with-editable --with-requirements -p --python --extra --group --env-file --directory --project "
    "--package --index --index-url",
    ("pipx", "run"): "--spec --python --index-url --pip-args",
    ("poetry", "run"): "-C --directory -P --project",
    ("pipenv", "run"): "",
    ("go", "run"): "-C -tags -ldflags -mod",
    ("cargo", "run"): "--bin --manifest-path -p --package --features --profile",
    ("dotnet", "run"): "--project -c --configuration -f --framework --launch-profile",
    ("dotnet",): "",
    ("java",): "-cp -classpath --class-path -p --module-path",
    ("node",): "-r --require --import --loader --experimental-loader --env-file -C --conditions",
    ("tsx",): "-r --require --import --tsconfig",
    ("ts-node",): "-r --require -P --project",
    ("ruby",): "-I -r -C",
    ("perl",): "-I -M",
    ("php",): "-c -d",
    ("fastmcp", "run"): "-t --transport --host -p --port --with --python --project",
    ("mcp", "run"): "-t --transport",
}
_CONTAINER_SWITCHES_TEXT = """
-i -t -it -ti -d -q -P --rm --init --interactive --tty --detach --privileged --read-only --publish-all --quiet
--no-healthcheck --sig-proxy --oom-kill-disable
"""
_CONTAINER_SWITCHES = frozenset(_CONTAINER_SWITCHES_TEXT.split())
_SILENT_TEXT = """
-y --yes -q --quiet -u -i -t -it -ti --rm --interactive --tty --init --prefer-offline --no-install
"""
_SILENT = frozenset(_SILENT_TEXT.split())
"""Options of launchers that do not affect the program started."""


def name_of_command(program: str, args: Sequence[str]) -> str:
    """The name of a server that this command starts: the package, module, file or image, and its arguments.

    ``npx -y @scope/server /data`` is ``@scope/server /data``. Parts that do not fit or may be secrets are left out; six
    digits of a digest of the omitted parts, with secrets masked, keep names distinct.
    """
    found = _named(program, tuple(args), _DEEPEST)
    left_out = list(found.left_out)
    full = found.what if len(found.what) <= _LONGEST else f"…{found.what[1 - _LONGEST :]}"
    left_out += [found.what] if full != found.what else []
    for word, told in zip(_shown(found.args), _told(found.args), strict=True):
        shown = word.partition("?")[0] if "://" in word else word
        shown = shown if _BARE.fullmatch(shown) else shlex.quote(shown)
        fits = "***" not in shown and len(full) + len(shown) < _LONGEST
        full += f" {shown}" if fits else ""
        left_out += [told] if not fits or shown.strip("'") != word else []
    if not left_out:
        return full
    return f"{full} #{_digest(left_out)}"


def name_of_address(url: str) -> str:
    """Host and port, and the path unless it is the usual one of such servers."""
    parts = urlsplit(shown_endpoint(url))
    path = "" if _PLAIN_PATH.fullmatch(parts.path) else parts.path.rstrip("/")
    return parts.netloc.rpartition("@")[2] + path


@dataclass(slots=True)
class _Named:
    what: str
    args: tuple[str, ...] = ()
    left_out: list[str] = field(default_factory=list)
    """Printable words that distinguish this server from others but are not in its name."""


def _named(program: str, args: tuple[str, ...], depth: int) -> _Named:
    tool = PurePath(program).name.removesuffix(".exe").removesuffix(".cmd")
    if depth:
        if tool == "env":
            return _of_env(args, depth) or _Named(tool, args)
        if tool in _SHELLS or (tool == "cmd" and args[:1] in (("/c",), ("/C",))):
            return _of_shell(tool, args, depth)
        if tool in _PASS_ON:
            return _passed_on(tool, args, depth)
        if re.fullmatch(r"(?:python|pypy|pythonw)[\d.]*|py", tool):
            return _of_python(tool, args)
        if tool in ("docker", "podman", "nerdctl") and "run" in args[:2]:
            return _of_container(args[args.index("run") + 1 :]) or _Named(tool, args)
        if tool == "uv" and args and args[0].startswith("-"):  # its own options may stand before its command
            before, rest = _options(args, frozenset(_PACKAGES["uv", "run"].split()))
            found = _named(program, rest, depth - 1)
            found.left_out += _telling(before)
            return found
        for words in ((tool, *args[:2]), (tool, *args[:1]), (tool,)):
            if (takes := _PACKAGES.get(words)) is not None:
                return _of_launcher(tool, args[len(words) - 1 :], frozenset(takes.split()), depth) or _Named(tool, args)
    return _Named(_place(program) if os.sep in program and not _is_binary(program) else tool, args)


def _of_launcher(tool: str, args: tuple[str, ...], takes: frozenset[str], depth: int) -> _Named | None:
    options, rest = _options(args, takes)
    call = next((options[at + 1] for at, one in enumerate(options[:-1]) if one in ("-c", "--call")), None)
    if not rest and tool in ("npx", "npm") and call is not None:
        return _of_shell(tool, ("-c", call), depth)
    if tool == "java" and (jar := [one for one in args if one.endswith(".jar")]):
        at = args.index(jar[0])
        return _Named(_place(jar[0]), args[at + 1 :], _telling(args[:at], {"-jar"}))
    if not rest:
        named = next(
            (options[at + 1] for at, one in enumerate(options[:-1]) if one in ("--project", "--package")), None
        )
        return None if named is None else _Named(_package(named), (), _telling(options))
    what, *after = rest
    if tool == "uv" and what and not _FILE.search(what):  # uv run python …, uv run mcp run …
        found = _named(what, tuple(after), depth - 1)
        found.left_out += _telling(options)
        return found
    is_file = bool(_FILE.search(what)) or tool in ("node", "deno", "dotnet", "ruby", "perl", "php", "tsx", "ts-node")
    return _Named(_place(what) if is_file else _package(what), tuple(after), _telling(options))


def _of_python(tool: str, args: tuple[str, ...]) -> _Named:
    options, rest = [], list(args)
    while rest and rest[0].startswith("-") and rest[0] not in ("-m", "-c", "-"):
        options.append(rest.pop(0))
        if options[-1] in ("-X", "-W") and rest:
            options.append(rest.pop(0))
    left_out = _telling(options, {"-I", "-E", "-S", "-s", "-B", "-X", "-W"})
    if len(rest) >= 2 and rest[0] == "-m":
        return _Named(rest[1], tuple(rest[2:]), left_out)
    if len(rest) >= 2 and rest[0] == "-c":
        return _Named(f"{tool} -c", (), [*left_out, *_told(rest[1:])])
    if rest:
        return _Named(_place(rest[0]), tuple(rest[1:]), left_out)
    return _Named(tool, args)


def _of_env(args: tuple[str, ...], depth: int) -> _Named | None:
    rest, before = list(args), list[str]()
    while rest:
        word = rest[0]
        if word in ("-S", "--split-string") and len(rest) > 1:
            return _split(" ".join(rest[1:]), before, depth)
        if word in ("-u", "--unset", "-C", "--chdir") and len(rest) > 1:
            before += [rest.pop(0), rest.pop(0)]
        elif word.startswith("-") or re.match(r"[A-Za-z_]\w*=", word):
            before.append(rest.pop(0))
        else:
            found = _named(rest[0], tuple(rest[1:]), depth - 1)
            found.left_out += _telling(tuple(before))
            return found
    return None


def _of_shell(tool: str, args: tuple[str, ...], depth: int) -> _Named:
    """The command that a shell is asked to run: its last command, with everything before it."""
    for at, word in enumerate(args[:-1]):
        if re.fullmatch(r"-[a-z]*c|/[cC]", word):
            inner = " ".join(args[at + 1 :]) if word in ("/c", "/C") else args[at + 1]
            return _split(inner, [], depth) or _Named(f"{tool} -c", (), _told(args))
    if args and not args[0].startswith("-"):
        return _Named(_place(args[0]), args[1:])
    return _Named(tool, args)


def _split(command: str, before: list[str], depth: int) -> _Named | None:
    try:
        lexer = shlex.shlex(command, posix=True, punctuation_chars=";&|")
        lexer.whitespace_split = True
        words = list(lexer)
    except ValueError:
        return None
    ends = [at for at, word in enumerate(words) if set(word) <= set(";&|")]
    if ends and ends[-1] == len(words) - 1:  # "run it;"
        words.pop()
        ends.pop()
    start = ends[-1] + 1 if ends else 0
    before, words = [*before, *words[:start]], words[start:]
    while words and (words[0] == "exec" or re.match(r"[A-Za-z_]\w*=", words[0])):
        before += [] if words[0] == "exec" else [words[0]]
        words.pop(0)
    if not words:
        return None
    found = _named(words[0], tuple(words[1:]), depth - 1)
    found.left_out += _telling(tuple(before))
    return found


def _passed_on(tool: str, args: tuple[str, ...], depth: int) -> _Named:
    _, rest = _options(args, _PASSED_ON_TAKES)
    if tool == "timeout" and rest:
        rest = rest[1:]
    if not rest:
        return _Named(tool, args)
    return _named(rest[0], rest[1:], depth - 1)


def _of_container(args: tuple[str, ...]) -> _Named | None:
    rest, options = list(args), list[str]()
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        options.append(option)
        if "=" not in option and option not in _CONTAINER_SWITCHES and rest:
            options.append(rest.pop(0))
    return _Named(rest[0], tuple(rest[1:]), _telling(tuple(options))) if rest else None


def _options(args: tuple[str, ...], takes: frozenset[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """A launcher's own options, and the program it starts with its arguments."""
    at = 0
    while at < len(args) and args[at].startswith("-"):
        if args[at] == "--":
            return args[:at], args[at + 1 :]
        at += 2 if args[at] in takes else 1
    return args[:at], args[at:]


def _telling(words: Sequence[str], silent: set[str] | None = None) -> list[str]:
    """The words not in the name that distinguish a server from others."""
    return _told([one for one in words if one not in _SILENT and one not in (silent or ())])


def _told(args: Sequence[str]) -> list[str]:
    """Words for a digest, with only the secrets masked: masking more would make different servers look the same."""
    told: list[str] = []
    for one, parts in zip(args, in_arguments(args), strict=True):
        for part in () if _MOUNT.fullmatch(one) else sorted(parts, key=lambda part: part.start, reverse=True):
            one = f"{one[: part.start]}***{one[part.end :]}"
        told.append(one)
    return told


def _shown(args: Sequence[str]) -> list[str]:
    from checker.probes.mcp.options import shown_words  # a check of another kind imports nothing of MCP

    return shown_words("x", tuple(args))[1:]


def _package(spec: str) -> str:
    """A package's name without its version: a newer version is the same server."""
    if "://" in spec or spec.startswith((".", "/", "~")):
        return _shown([spec])[0]
    return re.sub(r"(?<=[\w\])])(?:@|==|>=|~=|<=).*\Z", "", spec)


def _is_binary(program: str) -> bool:
    return PurePath(program).parent.name in _BINARIES


def _place(path: str) -> str:
    """The full path of a file, since a relative one depends on the current folder; the home folder is ``~``."""
    if "://" in path:
        return _shown([path])[0]
    absolute = Path(os.path.abspath(Path(path).expanduser()))
    whole = str(absolute) if absolute.exists() else path
    home = str(Path.home())
    return f"~{whole[len(home) :]}" if home != os.sep and whole.startswith(home + os.sep) else whole


def adhoc(addresses: Mapping[str, str], timeout_s: float | None = None) -> Server:
    """One server from the command line: addresses and commands by the options of `checker.probe_kinds.FLAGS`.

    It is named after the first address or the command it starts (`checker.settings.adhoc`). Raises ConfigError.
    """
    probes: dict[str, Any] = {}
    for option, given in addresses.items():
        kind, values = _given(option, given)
        if kind in probes:
            both = [f"--{one}" for one in addresses if FLAGS[one][0].name == kind]
            raise UsageError(f"{' and '.join(both)} are both {KINDS[kind].label}; give one of them")
        if timeout_s is not None:
            values["timeout"] = timeout_s
        try:
            options = probe_of(kind).options(**values)  # of the right types already: the validator takes long to import
        except TypeError:  # a check function that has options of its own
            raise UsageError(f"--{option}: {kind} has options that it needs; write a config for it") from None
        if faults := list(probe_of(kind).faults(options)):  # without the address, which may hold a password
            said = (("timeout" if keys[0] == "timeout" else option, text) for keys, text in faults)
            raise ConfigError("\n".join(f"--{place}: {text}" for place, text in said))
        probes[kind] = options
    option, first = next(iter(addresses.items()))
    name = _name_of(option, first)
    return Server(name=name, probes={kind: probes[kind] for kind in KINDS if kind in probes})


def adhoc_servers(given: Sequence[CheckTarget], timeout_s: float | None = None) -> tuple[Server, ...]:
    """The servers of a command line, under names that tell them apart.

    Options of which each kind of probe has one at most are one server with several probes, as a configuration would
    have it; anything else is a server for each, and one that is given twice is one. Raises ConfigError.
    """
    options = [one.option for one in given]
    kinds = [FLAGS[option][0].name for option in options]
    if len(set(kinds)) == len(kinds) and not any(one.is_guessed for one in given):
        return (adhoc({one.option: one.value for one in given}, timeout_s),)
    alone = {(one.option, one.value): adhoc({one.option: one.value}, timeout_s) for one in given}
    named = _apart({key: server.name for key, server in alone.items()})
    return tuple(replace(server, name=named[key]) for key, server in alone.items())


def what_was_guessed(given: Sequence[CheckTarget]) -> Iterator[str]:
    """A line for each address and command whose kind was not said, with the way to say another."""
    for one in given:
        kind, flag = FLAGS[one.option]
        if one.is_guessed and flag.is_command:
            program, *args = shlex.split(one.value) or [""]
            words = shlex.join([PurePath(program).name, *_shown(args)])
            yield f"{words}: started as an {kind.label} server (--{one.option})"
        elif one.is_guessed:
            others = in_words(
                f"--{name}" for name, (other, its) in FLAGS.items() if other is not kind and not its.is_command
            )
            yield f"{shown_endpoint(one.value)}: checked as {kind.label}, by its looks; {others} says otherwise"


def _apart(names: Mapping[tuple[str, str], str]) -> dict[tuple[str, str], str]:
    """Names by option and value, of which those that are equal become longer until they differ.

    By the path, by the option, by the whole address as it may be shown; what differs in a secret alone is numbered.
    """
    found = dict(names)
    for make in (_with_path, _with_option, _with_digest):
        for name in [name for name, often in Counter(found.values()).items() if often > 1]:
            longer = {key: make(*key, name) for key, its in found.items() if its == name}
            if len(set(longer.values())) > 1:
                found |= longer
    often, numbers = Counter(found.values()), Counter[str]()
    for key, name in found.items():
        if often[name] > 1:
            numbers[name] += 1
            found[key] = f"{name} {numbers[name]}"
    return found


def _with_path(option: str, value: str, name: str) -> str:
    if FLAGS[option][1].is_command:
        return name
    parts = urlsplit(shown_endpoint(value))
    return parts.netloc.rpartition("@")[2] + (parts.path.rstrip("/") or "/")


def _with_option(option: str, _value: str, name: str) -> str:
    return f"{name} ({option})"


def _with_digest(option: str, value: str, name: str) -> str:
    return name if FLAGS[option][1].is_command else f"{name} #{_digest([shown_endpoint(value)])}"


def _digest(words: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(words).encode("utf-8", "surrogateescape")).hexdigest()[:6]


def _name_of(option: str, given: str) -> str:
    if not FLAGS[option][1].is_command:
        return name_of_address(given)
    program, *args = shlex.split(given)
    return name_of_command(program, args)


def _given(option: str, given: str) -> tuple[str, dict[str, Any]]:
    """The kind of probe that an option names, and the kind's options from its value."""
    kind, flag = FLAGS[option]
    if not flag.is_command:
        if not given:
            raise ConfigError(f"--{option}: no address; write it like https://host/path")
        return kind.name, {flag.key: given}
    try:
        program, *args = shlex.split(given) or [""]
    except ValueError as error:
        raise ConfigError(f"--{option}: {error} in the command; write it as for a shell, in quotes") from None
    if not program:
        raise ConfigError(f'--{option}: no command; write it as for a shell, such as "uvx mcp-server-time"')
    return kind.name, {flag.key: program, "args": tuple(args)}
