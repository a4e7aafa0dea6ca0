"""Imported servers as part of our own configuration: as Settings, or as text of a file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import yaml

from checker.addresses import names_guarded
from checker.errors import ConfigError, UsageError
from checker.importers import read
from checker.importers.entries import Entry, name_of, needed, one_line
from checker.importers.fetch import is_address, shown
from checker.importers.trust import NOTHING, Leave, Wishes, command_line, own_file, used, variable_line
from checker.model import Server
from checker.probes.http import origin
from checker.settings.blocks import Settings
from checker.settings.files import Files
from checker.settings.overlay import expand
from checker.settings.servers import ServerReader
from checker.settings.validate import Source
from checker.settings.yaml_document import Problem, dotted

_MOST_DEPTH = 50
_MOST_PROBLEMS = 10
_LINE_END = re.compile(r"\r\n|[\r\n\x85\u2028\u2029]")  # what libyaml counts as one
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_REFUSED = "its servers: cannot be added to; write them as a list, each on lines of its own that begin with -"


def imported_settings(source: str, environ: Mapping[str, str] = os.environ, leave: Leave = NOTHING) -> Settings:
    """The settings of the servers in a file of another program, or at the address of one or of a registry.

    A file that a client keeps for this user may do everything. Any other file starts programs and gets variables only
    with ``leave``, and an address never starts one. A server that needs a variable that is not set, or not granted to
    it, is left out with a warning; so is, at an address, one that would start a command. Raises UsageError if programs
    would have to be started without permission, and ConfigError, also if no server is left.
    """
    own = None if is_address(source) else own_file(Path(source))
    imported = read(source if own is None else str(own))
    warnings = list(imported.notes)
    problems: list[Problem] = []
    servers: list[Server] = []
    reader = ServerReader(Files(Path() if is_address(source) else Path(source).absolute().parent))
    entries: list[Entry] = []
    for entry in imported.entries:
        name = name_of(entry)
        if is_address(source) and "command" in entry["mcp"]:
            warnings.append(f"{name}: left out: starts a command; look at it with config import, and check that config")
        elif missing := [one for one in needed(entry) if one not in environ]:
            warnings += [one_line(f"{name}: needs the variable {one}") for one in missing]
        else:
            entries.append(entry)
    told = environ if own is not None else _told(source, entries, environ, leave, warnings)
    for entry in entries:
        name = name_of(entry)
        if any(one not in told for one in needed(entry)):
            continue
        values = expand(entry, told, (name,), problems)
        server = reader.server(values, Source((name,), entry, problems))
        if server is not None and own is None and names_guarded(_host(server)):
            warnings.append(f"{name}: left out: a link-local or metadata address, which no document of others may name")
        elif server is not None:
            servers.append(server)
    if problems:
        said = [one_line(f"{shown(source)}: {dotted(one.place)}: {one.text}", 1000) for one in problems]
        more = [f"and {len(said) - _MOST_PROBLEMS} more"] if len(said) > _MOST_PROBLEMS else []
        raise ConfigError("\n".join(said[:_MOST_PROBLEMS] + more))
    if not servers:
        why = "".join(f"\n{warning}" for warning in warnings[:_MOST_PROBLEMS])
        raise ConfigError(f"{shown(source)}: no server in it can be checked{why}")
    return Settings(servers=tuple(servers), path=shown(source), warnings=tuple(warnings))


def _host(server: Server) -> str:
    """The host of the server; empty for a program."""
    return origin(server.probes["mcp"].url)[1]


def _told(
    source: str, entries: Sequence[Entry], environ: Mapping[str, str], leave: Leave, warnings: list[str]
) -> Mapping[str, str]:
    """The variables granted to a document that is not the user's own, after asking if possible; adds warnings."""
    allowed = {name: value for name, value in environ.items() if name in leave.variables}
    untold = [(entry, name) for entry in entries for name in used(entry) if name in environ and name not in allowed]
    commands = [] if leave.commands else [entry for entry in entries if "command" in entry["mcp"]]
    if leave.ask is not None and not is_address(source) and (commands or untold):
        wishes = Wishes(
            tuple(command_line(entry, environ) for entry in commands),
            tuple(variable_line(entry, name, environ) for entry, name in untold),
        )
        if leave.ask(wishes):
            return environ
    if commands:
        shown = "".join(f"\n  {one_line(command_line(entry, allowed), 2000)}" for entry in commands[:_MOST_PROBLEMS])
        more = f"\n  and {len(commands) - _MOST_PROBLEMS} more" if len(commands) > _MOST_PROBLEMS else ""
        raise UsageError(
            f"{one_line(source, 1000)}: names programs to start and is no configuration of a client of yours; nothing "
            f"was started. If you know these programs, give --allow-commands:{shown}{more}"
        )
    warnings += [
        f"{variable_line(entry, name, allowed)}: the value is not sent; give --allow-env {name} to send it"
        for entry, name in untold
    ]
    return allowed


class _Dumper(yaml.SafeDumper):
    """Writes lists indented below their keys, and never uses YAML aliases."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def names_in(text: str) -> set[str]:
    """The names of the servers in the text of a configuration; raises ConfigError if it is not YAML."""
    listed = _values(text).get("servers")
    return {str(one.get("name")) for one in listed if isinstance(one, dict)} if isinstance(listed, list) else set()


def appended(text: str | None, entries: Sequence[Entry]) -> str:
    """The text with the entries appended to its ``servers:``, or a new text; raises ConfigError if that is impossible.

    Existing text stays byte for byte, except that a missing line end is added at the end.
    """
    if not entries:
        return text or ""
    text = text or ""
    before = _values(text).get("servers")
    if "servers" in _values(text):
        at, indent = _end_of_servers(text)
        block = yaml.dump(list(entries), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1_000_000)
        block = "".join(f"{' ' * indent}{line}" if line.strip() else line for line in block.splitlines(keepends=True))
    else:
        at = len(text)
        block = yaml.dump({"servers": list(entries)}, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10**6)
    if "\r\n" in text:
        block = block.replace("\n", "\r\n")
    if at and not _LINE_END.fullmatch(text[at - 1]):
        block = ("\r\n" if "\r\n" in text else "\n") + block
    whole = text[:at] + block + text[at:]
    known = before if isinstance(before, list) else []
    try:
        after = _values(whole).get("servers")
    except ConfigError:
        after = None
    if not isinstance(after, list) or len(after) != len(known) + len(entries) or after[len(known) :] != list(entries):
        raise ConfigError(_REFUSED)
    return whole


def _values(text: str) -> dict[str, Any]:
    """The values of a YAML text; raises ConfigError."""
    try:
        depth = 0
        for event in yaml.parse(text, Loader=_Loader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _MOST_DEPTH:
                raise ConfigError("the config is not one: nested too deeply")
        values = yaml.load(text, Loader=_Loader)  # noqa: S506 # it is a safe one
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ConfigError("the config is not valid YAML; mcp-status config validate says where") from None
    if values is not None and not isinstance(values, dict):
        raise ConfigError('the config is not a mapping; it begins with keys such as "servers:"')
    return values or {}


def _end_of_servers(text: str) -> tuple[int, int]:
    """The end of the list under ``servers:``, and the column of its dashes; raises ConfigError if there is none."""
    starts = [0, *(match.end() for match in _LINE_END.finditer(text))]
    events: Iterator[Any] = iter(yaml.parse(text, Loader=_Loader))
    depth, at_key = 0, True
    for event in events:
        if depth == 1 and at_key and isinstance(event, yaml.ScalarEvent) and event.value == "servers":
            break
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth == 1 and not isinstance(event, yaml.MappingStartEvent):  # a key, or the end of a value
            at_key = not at_key
    first = next(events, None)
    if not isinstance(first, yaml.SequenceStartEvent) or first.flow_style:
        raise ConfigError(_REFUSED)
    depth, end = 1, cast(Any, first.end_mark)
    for event in events:
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth == 0:
            break
        if isinstance(event, yaml.ScalarEvent | yaml.AliasEvent) or event.start_mark.index != event.end_mark.index:
            end = event.end_mark  # the end of a block has no width, and lies behind the comments that follow
    on_line = end.line + (end.column > 0)
    return (starts[on_line] if on_line < len(starts) else len(text)), cast(Any, first.start_mark).column
