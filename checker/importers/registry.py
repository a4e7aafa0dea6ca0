"""A ``server.json`` of the MCP registry as entries of our configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from checker.importers import look
from checker.importers.imported import Entry, Imported, ServerNames, Unusable, one_line
from checker.importers.inputs import BRACED, Naming, blocks, filled, given, word
from checker.importers.packages import package_options
from checker.importers.variables import escaped


def server(document: Mapping[str, Any], names: ServerNames, naming: Naming) -> Imported:
    """The entries of a server: one for each remote, else one for the first package that can be started."""
    entries: list[Entry] = []
    wanted = document.get("name")
    wanted = wanted if isinstance(wanted, str) else ""
    said: list[str] = []

    def add(options: Entry) -> None:
        name = names.unique(wanted)
        entries.append({"name": escaped(name), "mcp": options})

    for kind, convert in (("remotes", remote_options), ("packages", package_options)):
        try:
            listed = blocks(document, kind)
        except Unusable as why:
            said.append(str(why))
            continue
        for block in listed:
            try:
                add(convert(block, naming, said))
            except Unusable as why:
                said.append(f"left out a {kind.removesuffix('s')}: {why}")
                continue
            if kind == "packages":  # the others are the same server, packed in another way
                break
        if entries:
            break
    if not entries and not said:
        said.append("left out: neither remotes nor packages")
    notes = [one_line(f"{wanted or 'server'}: {text}") for text in dict.fromkeys(said)]
    return Imported(tuple(entries), tuple(notes))


def remote_options(block: Mapping[str, Any], naming: Naming, notes: list[str]) -> Entry:
    """The ``mcp:`` block of a remote; raises Unusable, adds to the notes."""
    url = word(block, "url")
    if url is None:
        raise Unusable("no address")
    kind = look.transport(word(block, "type") or word(block, "transportType"))
    if kind == "stdio":
        raise Unusable("a remote cannot be stdio")
    found: Entry = {"url": look.address(filled(url, block, naming))}
    if left := [name for name in BRACED.findall(found["url"].replace("${", "")) if name]:
        notes.append(f"nothing says what {{{left[0]}}} in the address stands for")
    if kind:
        found["transport"] = kind
    headers: dict[str, str] = {}
    for header in blocks(block, "headers"):
        name = word(header, "name")
        if name is None:
            raise Unusable("a header without a name")
        if (text := given(header, name, naming)) is not None:
            headers[name] = text
    if headers:
        found["headers"] = look.headers(headers)
    return found
