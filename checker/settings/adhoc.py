"""Servers without a file: addresses from the command line."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from checker.errors import ConfigError, UsageError
from checker.model import Server
from checker.probes import KINDS
from checker.settings.naming import name_of_address, name_of_command


def adhoc(addresses: Mapping[str, str], timeout_s: float | None = None) -> Server:
    """One server from what the command line gives: addresses by probe kind, or ``stdio`` and a command.

    It is named after the first address or what the command starts (`checker.settings.naming`). Raises ConfigError.
    """
    probes: dict[str, Any] = {}
    for option, given in addresses.items():
        kind, values = _probe_of(option, given)
        if kind in probes:
            raise UsageError("--mcp and --stdio are both MCP; give one of them")
        if timeout_s is not None:
            values["timeout"] = timeout_s
        options = KINDS[kind].options(**values)  # of the right types already: the validator takes long to import
        if faults := list(KINDS[kind].faults(options)):  # without the address, which may hold a password
            said = (("timeout" if keys[0] == "timeout" else option, text) for keys, text in faults)
            raise ConfigError("\n".join(f"--{place}: {text}" for place, text in said))
        probes[kind] = options
    option, first = next(iter(addresses.items()))
    if option == "stdio":
        program, *args = shlex.split(first)
        name = name_of_command(program, args)
    else:
        name = name_of_address(first)
    return Server(name=name, probes={kind: probes[kind] for kind in KINDS if kind in probes})


def _probe_of(option: str, given: str) -> tuple[str, dict[str, Any]]:
    if option != "stdio":
        return option, {"url": given}
    try:
        program, *args = shlex.split(given) or [""]
    except ValueError as error:
        raise ConfigError(f"--stdio: {error} in the command; write it as for a shell, in quotes") from None
    if not program:
        raise ConfigError('--stdio: no command; write it as for a shell, such as "uvx mcp-server-time"')
    return "mcp", {"command": program, "args": tuple(args)}
