"""Server entries merged over the file's defaults, validated, and checked for contradictions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from checker.maintenance_windows import faults
from checker.model import Server
from checker.probe_kinds import KINDS, kinds_in_words
from checker.probes import probe_of
from checker.settings.blocks import ServerEntry
from checker.settings.files import Files, with_files
from checker.settings.overlay import merged, spelled_out
from checker.settings.server_shapes import LONGEST_NAME, ServerShapes
from checker.settings.validate import Source, required_options, unknown_key, validated, without_faulty

_INHERITED = tuple(name for name in ServerEntry.__struct_fields__ if name != "name")
_OF_PROBES = "remarks"
"""The key that is written once for all probes of a server, and copied to each of them."""
_OF_SERVER = tuple(name for name in ServerEntry.__struct_fields__ if name != _OF_PROBES)
_ENTRY = frozenset(ServerEntry.__struct_fields__)
_MAY_BE_TAKEN_BACK = ("body_regex", "max_latency")
"""Conditions for which null is a value: no condition."""


class ServerReader:
    """Makes servers from entries: it knows the defaults, and resolves paths."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._entry: dict[str, Any] = {}
        self._probes: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}
        self._shapes = ServerShapes(self._probes)

    def read_defaults(self, given: Any, source: Source, of_every_probe: Mapping[str, Any]) -> None:
        """Read the ``defaults`` block, merged over the options that apply to every probe.

        Its faults are reported here, once: invalid defaults are not merged into servers.
        """
        if not isinstance(given, Mapping):
            source.complain((), "write keys and values, indented below")
            return
        for key in given:
            if key not in (*_INHERITED, *KINDS):
                source.complain((key,), unknown_key(key, [*_INHERITED, *KINDS]))
        inherited = {key: given[key] for key in _INHERITED if key in given}
        entry = validated(ServerEntry, {"name": "-", **inherited}, source)
        if entry is not None and _weights_are_valid(entry, source) and _windows_are_valid(entry, source):
            self._entry = inherited
            if entry.remarks is not None:
                of_every_probe = {_OF_PROBES: entry.remarks, **of_every_probe}
        for kind in KINDS:
            block, below = given.get(kind) or {}, source.below(kind)
            if not isinstance(block, Mapping):
                below.complain((), "write keys such as timeout:, indented below")
                continue
            if not block and not of_every_probe:
                continue  # nothing to look through, for which a kind that may not be used need not be loaded
            before, probe = len(source.problems), probe_of(kind)
            laid = merged(of_every_probe, with_files(probe.options, block, below, self._files))
            if missing := required_options(probe.options) - {"url", *laid}:  # each server may have its own
                known = probe.options.__struct_fields__
                for key in laid.keys() - {*known, *missing}:
                    below.complain((key,), unknown_key(key, list(known)))
                self._probes[kind] = laid if len(source.problems) == before else {}
                continue
            options = validated(probe.options, {"url": probe.example, **laid}, below)
            if options is not None:
                for keys, text in probe.faults(options):
                    below.complain(keys, text)
            if len(source.problems) == before:
                self._probes[kind] = laid

    def like_another(self, values: Any) -> Server | None:
        """The server of an entry of a shape that was read before; None for any other, which `server` reads."""
        return self._shapes.server(values)

    def server(self, values: Any, source: Source) -> Server | None:
        """The server of an entry; None if anything is wrong with it."""
        if not isinstance(values, Mapping):
            source.complain((), f"not a server; write name: and {kinds_in_words(':')}, indented")
            return None
        before = len(source.problems)
        given = spelled_out(values)
        for key in given:
            if key not in _ENTRY and key not in KINDS:
                source.complain((key,), unknown_key(key, [*ServerEntry.__struct_fields__, *KINDS]))
        own = {key: given[key] for key in ServerEntry.__struct_fields__ if key in given}
        laid = merged(self._entry, own)
        entry = validated(ServerEntry, laid, source)
        if entry is not None and _OF_PROBES in own:
            given |= _with_own_remarks(given, entry.remarks)
        # a kind without a value is switched off, which is how an environment does it
        probes = {kind: self._probe(kind, given[kind], source) for kind in KINDS if given.get(kind) is not None}
        if not probes:
            source.complain((), f"nothing to check; add {kinds_in_words(':')} with an address")
        if entry is None or len(source.problems) > before:
            if (rest := entry or without_faulty(ServerEntry, laid, source, before)) is not None:
                _check_entry(rest, given, probes, source)
            return None
        _check_entry(entry, given, probes, source)
        server = Server(probes=probes, **{key: getattr(entry, key) for key in _OF_SERVER})
        if len(source.problems) == before and _OF_PROBES not in own:
            self._shapes.learn_entry({key: value for key, value in own.items() if key != "name"}, server)
        return server

    def _probe(self, kind: str, given: Any, source: Source) -> Any:
        below = source.below(kind)
        if isinstance(below.raw, str):
            below = Source(below.place, {"url": below.raw}, below.problems)
        if not isinstance(given, Mapping):
            below.complain((), "write an address, or keys such as url: indented below")
            return None
        before, probe = len(source.problems), probe_of(kind)
        own = with_files(probe.options, given, below, self._files)
        defaults = self._probes[kind]
        _tell_forgotten(own.get("expect"), defaults.get("expect"), below)
        if str(own.get("url")).lower().startswith("http:"):  # default authorities are for the https servers
            defaults = {key: value for key, value in defaults.items() if key != "tls"}
        if others := probe.not_inherited(own):
            defaults = {key: value for key, value in defaults.items() if key not in others}
        laid = merged(defaults, own)
        options = validated(probe.options, laid, below)
        looked_at = options if options is not None else without_faulty(probe.options, laid, below, before)
        if looked_at is not None:
            for keys, text in probe.faults(looked_at):
                below.complain(
                    keys,
                    f"{text} ({keys[0]} is from the defaults)" if keys[0] in defaults and keys[0] not in own else text,
                )
        if own == given and len(source.problems) == before:  # or it names files, which may be others next time
            self._shapes.learn_probe(kind, own, options)
        return options


def _tell_forgotten(expected: Any, default: Any, source: Source) -> None:
    """Report conditions without a value: null only removes a condition that has a default."""
    for key in _MAY_BE_TAKEN_BACK if isinstance(expected, Mapping) else ():
        has_default = isinstance(default, Mapping) and default.get(key) is not None
        if key in expected and expected[key] is None and not has_default:
            source.complain(("expect", key), "its value is missing; add it, or remove the key")


def _with_own_remarks(given: Mapping[str, Any], remarks: str | None) -> dict[str, Any]:
    """The probes of an entry that sets the effect of remarks for all of them."""
    return {
        kind: {_OF_PROBES: remarks, **given[kind]}
        for kind in KINDS
        if remarks is not None and isinstance(given.get(kind), Mapping)
    }


def _check_entry(entry: ServerEntry, given: Mapping[str, Any], probes: Mapping[str, Any], source: Source) -> None:
    if not entry.name.strip() or len(entry.name) > LONGEST_NAME or not entry.name.isprintable():
        source.complain(("name",), f"write 1 to {LONGEST_NAME} printable characters")
    elif entry.name != entry.name.strip():
        source.complain(("name",), "begins or ends with a space; remove it")
    _weights_are_valid(entry, source)
    _windows_are_valid(entry, source)
    weights = given.get("weights")
    for kind in weights if isinstance(weights, Mapping) else ():
        if kind in KINDS and kind not in given:
            source.complain(("weights", kind), f"this server has no {kind}: to weigh; add it, or remove the weight")
    if probes and not sum(entry.weights.get(kind, 1.0) for kind in probes):
        source.complain(("weights",), "every probe of this server has weight 0; give one of them more")


def _windows_are_valid(entry: ServerEntry, source: Source) -> bool:
    before = len(source.problems)
    for index, window in enumerate(entry.maintenance):
        for key, text in faults(window):
            source.complain(("maintenance", index, key), text)
    return len(source.problems) == before


def _weights_are_valid(entry: ServerEntry, source: Source) -> bool:
    before = len(source.problems)
    for kind, weight in entry.weights.items():
        if kind not in KINDS:
            source.complain(("weights", kind), unknown_key(kind, list(KINDS)))
        elif weight < 0:
            source.complain(("weights", kind), f"{weight:g} is not a weight; write 0 or more")
    return len(source.problems) == before
