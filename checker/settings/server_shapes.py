"""Server entries that differ from an earlier one only in their name, addresses, headers and tokens.

A fleet of thousands has a few dozen shapes of entries. Merging, validating and cross-checking the first entry of a
shape (`checker.settings.servers`) is done for all of them; what differs is converted and checked for each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from checker.model import Server
from checker.probe_kinds import KINDS
from checker.probes import probe_of
from checker.probes.base import Probe
from checker.probes.option_validation import is_usual_address
from checker.settings.overlay import merged
from checker.settings.usual_options import option_value

_OF_EACH = ("headers", "bearer")
"""Options beside the address that are often different for each server."""
_MOST_SHAPES = 1000
"""Of entries and of each kind's blocks: a fleet in which nothing is alike must not be kept twice."""
LONGEST_NAME = 200


class _KnownBlock(Struct, frozen=True):
    """The options of the first entry of a shape, which have no faults."""

    options: Any
    probe: Probe
    usual_address: bool
    """True if other addresses of the usual form have no faults either."""


class ServerShapes:
    """The shapes of the entries read so far, for one set of defaults."""

    def __init__(self, defaults: Mapping[str, Mapping[str, Any]]) -> None:
        """``defaults`` are the options of each kind that entries are merged over."""
        self._defaults = defaults
        self._entries: dict[Any, Server] = {}
        self._probes: dict[Any, _KnownBlock] = {}

    def server(self, values: Any) -> Server | None:
        """The server of an entry whose shape is known, and which has no faults; None for any other."""
        if type(values) is not dict:
            return None
        name, own, probes = values.get("name"), {}, {}
        for key, value in values.items():
            if key in KINDS:
                if value is not None:
                    probes[key] = self._probe(key, value)
            elif key != "name":
                own[key] = value
        if not is_usual_name(name) or not probes or None in probes.values():
            return None
        if (entry := self._entries.get(_as_key(own))) is None:
            return None
        if len(probes) > 1:
            probes = {kind: probes[kind] for kind in KINDS if kind in probes}
        return replace(entry, name=name, probes=probes)

    def _probe(self, kind: str, block: Any) -> Any | None:
        split = _split(kind, block)
        if split is None or (known := self._probes.get(split[0])) is None:
            return None
        url, given = split[1], split[2]
        if not given:
            options = replace(known.options, url=url)
            if known.usual_address and is_usual_address(url):
                return options
        else:
            defaults = self._defaults[kind]
            try:
                options = replace(
                    known.options,
                    url=url,
                    **{
                        key: option_value(known.probe.options, key, merged(defaults.get(key), value))
                        for key, value in given.items()
                    },
                )
            except ValueError:
                return None
        return None if any(known.probe.faults(options)) else options

    def learn_entry(self, own: Mapping[str, Any], server: Server) -> None:
        """Take note of a server without faults, and of what its entry says beside its name and probes."""
        if not server.weights and len(self._entries) < _MOST_SHAPES:
            self._entries[_as_key(own)] = server

    def learn_probe(self, kind: str, block: Any, options: Any) -> None:
        """Take note of a block without faults that names no files, and of its options."""
        if len(self._probes) < _MOST_SHAPES and (split := _split(kind, block)) is not None:
            probe = probe_of(kind)
            usual = probe.takes_usual_addresses and is_usual_address(split[1])
            self._probes[split[0]] = _KnownBlock(options, probe, usual)


def is_usual_name(name: Any) -> bool:
    """True for a name in which there is nothing to complain of."""
    return (
        type(name) is str
        and 0 < len(name) <= LONGEST_NAME
        and name.isprintable()
        and not name[0].isspace()
        and not name[-1].isspace()
    )


def _split(kind: str, block: Any) -> tuple[Any, str, dict[str, Any]] | None:
    """The shape of a block, its address, and the other options that each server may have of its own."""
    if type(block) is str:
        return (kind, _is_plain(block)), block, {}
    if type(block) is not dict or type(url := block.get("url")) is not str:
        return None
    if len(block) == 1:
        return (kind, _is_plain(url)), url, {}
    given = {key: block[key] for key in _OF_EACH if key in block}
    rest = {key: value for key, value in block.items() if key != "url" and key not in given}
    return (kind, _is_plain(url), *given, _as_key(rest)), url, given


def _as_key(values: Mapping[str, Any]) -> Any:
    """The same for equal values of the same types; for what JSON cannot say, a key that equals no other."""
    if not values:
        return b""
    try:
        return _ENCODER.encode(values)
    except (TypeError, ValueError, OverflowError):
        return object()


_ENCODER = msgspec.json.Encoder()


def _is_plain(url: str) -> bool:
    """True for http, to which the defaults for TLS do not apply."""
    return url[:5].lower() == "http:"
