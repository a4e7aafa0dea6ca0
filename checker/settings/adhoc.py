"""Servers without a file: addresses from the command line."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from checker.errors import ConfigError, UsageError
from checker.kinds import FLAGS, KINDS
from checker.model import Server
from checker.probes import probe_of
from checker.settings.naming import name_of_address, name_of_command


def adhoc(addresses: Mapping[str, str], timeout_s: float | None = None) -> Server:
    """One server from what the command line gives: addresses and commands by the options of `checker.kinds.FLAGS`.

    It is named after the first address or what the command starts (`checker.settings.naming`). Raises ConfigError.
    """
    probes: dict[str, Any] = {}
    for option, given in addresses.items():
        kind, values = _given(option, given)
        if kind in probes:
            both = [f"--{one}" for one in addresses if FLAGS[one][0].name == kind]
            raise UsageError(f"{' and '.join(both)} are both {KINDS[kind].label}; give one of them")
        if timeout_s is not None:
            values["timeout"] = timeout_s
        options = probe_of(kind).options(**values)  # of the right types already: the validator takes long to import
        if faults := list(probe_of(kind).faults(options)):  # without the address, which may hold a password
            said = (("timeout" if keys[0] == "timeout" else option, text) for keys, text in faults)
            raise ConfigError("\n".join(f"--{place}: {text}" for place, text in said))
        probes[kind] = options
    option, first = next(iter(addresses.items()))
    if FLAGS[option][1].is_command:
        program, *args = shlex.split(first)
        name = name_of_command(program, args)
    else:
        name = name_of_address(first)
    return Server(name=name, probes={kind: probes[kind] for kind in KINDS if kind in probes})


def _given(option: str, given: str) -> tuple[str, dict[str, Any]]:
    """The kind of probe that an option names, and the kind's options that its value is."""
    kind, flag = FLAGS[option]
    if not flag.is_command:
        return kind.name, {flag.key: given}
    try:
        program, *args = shlex.split(given) or [""]
    except ValueError as error:
        raise ConfigError(f"--{option}: {error} in the command; write it as for a shell, in quotes") from None
    if not program:
        raise ConfigError(f'--{option}: no command; write it as for a shell, such as "uvx mcp-server-time"')
    return kind.name, {flag.key: program, "args": tuple(args)}
