"""Options of the MCP probe, and a stdio command in a form to show."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from functools import lru_cache
from pathlib import PurePath
from typing import Annotated, Any, Literal

from msgspec import field

from checker.probes.conditions import JsonCondition
from checker.probes.http import shown_url
from checker.probes.oauth.options import OAuth
from checker.probes.options import Endpoint
from checker.secrets.fragments import split_argument
from checker.secrets.plain_values import is_flag, is_plain
from checker.secrets.redactor import MASK
from checker.secrets.sensitive_names import SecretPart, in_arguments
from checker.structs import Options
from checker.units import Bytes, Holds, Public, Seconds, Secret

Listing = Literal["tools", "resources", "resource_templates", "prompts"]


class CallExpect(Options, frozen=True, kw_only=True):
    """Conditions that a healthy answer to a named call meets."""

    is_error: bool = False
    """True if a tool is to report an error of its own (``isError``)."""
    json: tuple[JsonCondition, ...] = ()
    """Conditions on the result object, such as ``$.structuredContent.total`` or ``$.content[0].text``."""
    text_regex: Public | None = None
    """Regular expression that must be found in the text of the answer."""
    max_latency: Seconds | None = None
    """Answer time above which the server is UNHEALTHY."""
    degraded_above: Seconds | None = None
    """Answer time above which the server is DEGRADED."""


class Call(Options, frozen=True, kw_only=True):
    """One request to make in every check: a tool to call, a resource to read or a prompt to get."""

    tool: Public | None = None
    """Name of the tool to call."""
    resource: Annotated[str, Holds.ADDRESS] | None = None
    """URI of the resource to read."""
    prompt: Public | None = None
    """Name of the prompt to get."""
    arguments: Annotated[Mapping[str, Any], Holds.PERHAPS] = field(default_factory=dict)
    """Arguments of the tool or the prompt."""
    expect: CallExpect = CallExpect()
    """Conditions for a healthy answer."""


class McpOptions(Endpoint, frozen=True, kw_only=True):
    """An MCP server: an address to connect to, or a command to start."""

    url: Annotated[str, Holds.ADDRESS] = ""
    """http or https address of the endpoint; or give ``command``."""
    command: Public | None = None
    """Program to start and to exchange messages with over standard input and output; or give ``url``."""
    args: Annotated[tuple[str, ...], Holds.ARGUMENTS] = ()
    """Arguments of the command."""
    env: Annotated[Mapping[str, Secret], Holds.VARIABLES] = field(default_factory=dict)
    """Environment variables for the command, added to a minimal environment; values are secret unless plainly not."""
    cwd: Public | None = None
    """Folder in which the command starts; relative to the folder of this file."""
    shutdown_timeout: Seconds = 2.0
    """Time allowed for a started command to end after its input is closed, and again after SIGTERM."""
    transport: Literal["auto", "streamable-http", "sse", "stdio"] = "auto"
    """Transport of the messages; auto is stdio for a command, and for an address Streamable HTTP, then HTTP+SSE."""
    era: Literal["auto", "session", "sessionless"] = "auto"
    """Protocol family: ``session`` is 2024-11-05 to 2025-11-25, ``sessionless`` 2026-07-28; auto asks the server."""
    oauth: OAuth | None = None
    """Client credentials of OAuth 2.1: the token is fetched, kept and renewed."""
    ping: bool = True
    """Send ping in the session era; a server that does not know the method is not at fault."""
    lists: tuple[Listing, ...] = ("tools", "resources", "resource_templates", "prompts")
    """The lists to read to their last page, if the server announces them, and to keep as its contract."""
    expected_tools: tuple[Public, ...] = ()
    """Names of tools that must be listed."""
    calls: tuple[Call, ...] = ()
    """Tools, resources and prompts to try in every check; nothing else is ever called."""
    max_pages: int = 100
    """Maximum number of pages read from each list."""
    max_body: Bytes = 10 * 1024 * 1024
    """Largest body accepted, after decompression."""


_MOST = 200


@lru_cache(maxsize=4096)
def shown_command(program: str, args: tuple[str, ...]) -> str:
    """The program's name and arguments; of an address scheme, host and path; nothing that may be a secret."""
    text = shlex.join(shown_words(program, args))
    return f"stdio: {text if len(text) <= _MOST else text[: _MOST - 1] + '…'}"


def shown_words(program: str, args: tuple[str, ...]) -> list[str]:
    """The words of a command, each in a form to store and print; the program by its name alone."""
    shown, before = [PurePath(program).name], ""
    for arg, parts in zip(args, in_arguments(args), strict=True):
        name, value = split_argument(arg)
        if parts and not name and "://" not in arg:
            shown.append(_without(arg, parts))
        elif name and is_plain(
            name.lstrip("-"), before.lstrip("-")
        ):  # what follows --token is no name, whatever is in it
            shown.append(arg[: len(arg) - len(value)] + _shown(value, name.lstrip("-")))
        elif is_flag(arg):
            shown.append(arg)
        else:
            shown.append(_shown(arg, before.lstrip("-")))
        before = arg if is_flag(arg) else ""
    return shown


def _without(arg: str, parts: tuple[SecretPart, ...]) -> str:
    """The argument with a mask for each part; a mask for all of it if the rest may still be a secret."""
    shown = arg
    for part in sorted(parts, key=lambda one: one.start, reverse=True):
        shown = shown[: part.start] + MASK + shown[part.end :]
    return shown if all(is_plain(left) for left in shown.split(MASK)) else MASK


def _shown(value: str, name: str) -> str:
    if is_plain(value, name):
        return value
    if "://" in value and is_plain("text", name):
        try:
            address = shown_url(value)
        except ValueError:
            return MASK
        if " " not in address and is_plain(address.partition("?")[0], name):
            return address
    return MASK
