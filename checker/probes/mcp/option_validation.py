"""Contradictions in the options of the MCP probe."""

from __future__ import annotations

from collections.abc import Iterator

from checker.probes.mcp.configured_calls import call_faults
from checker.probes.mcp.options import McpOptions
from checker.probes.oauth.token import oauth_faults
from checker.probes.option_validation import Fault, endpoint_faults

_CREDENTIALS = ("headers", "bearer", "basic", "api_key", "oauth")
ONLY_HTTP = (*_CREDENTIALS, "tls", "bearer_file", "transport", "url", "proxy", "http")
"""Options that do not fit a command; as defaults they are meant for other servers."""


def faults(options: McpOptions) -> Iterator[Fault]:
    """Contradictions in the options."""
    if options.command is not None:
        yield from _command_faults(options)
    else:
        yield from _address_faults(options)
    yield from endpoint_faults(options, has_url=options.command is None)
    if options.max_pages < 1:
        yield ("max_pages",), "write 1 or more"
    yield from call_faults(options.calls)


def _command_faults(options: McpOptions) -> Iterator[Fault]:
    if options.url:
        yield ("command",), "url is given as well; keep one of them"
    if not options.command or "\0" in options.command:
        yield ("command",), "write the program to start"
    if options.transport not in ("auto", "stdio"):
        yield ("transport",), f'"{options.transport}" does not go with a command; write stdio, or remove it'
    for name in _CREDENTIALS:
        if getattr(options, name):
            yield (name,), "a command takes no such credentials; give them to it as env: or args:"
    if options.proxy is not None:
        yield ("proxy",), "does not go with a command; remove it"
    if any("\0" in arg for arg in options.args):
        yield ("args",), "an argument has a NUL character in it"
    for name, value in options.env.items():
        if not name or "=" in name or "\0" in name + value:
            yield ("env", name), "not a variable that can be set"


def _address_faults(options: McpOptions) -> Iterator[Fault]:
    if not options.url:
        yield ("url",), "missing; add it, or command: for a server that is started"
    if options.transport == "stdio":
        yield ("transport",), "stdio needs a command:; add it, or remove transport"
    for name in ("args", "env", "cwd"):
        if getattr(options, name):
            yield (name,), "goes with command:; remove it"
    if options.transport == "sse" and options.era == "sessionless":
        yield ("era",), "HTTP+SSE is a transport of the session era; remove one of them"
    if options.oauth is not None:
        sent = {name.lower() for name in options.headers}
        if options.bearer or options.basic or "authorization" in sent:
            yield ("oauth",), "another Authorization is set as well; keep one of them"
        yield from (((("oauth", *keys)), text) for keys, text in oauth_faults(options.oauth))
