"""The MCP probe: reach the server over its transport, speak its protocol era, and read its offer."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from time import perf_counter
from typing import Any

from msgspec.structs import replace

from checker.cache_keys import command_key
from checker.model import McpFacts, Reason, Status
from checker.probes import conditions
from checker.probes.base import COMMANDS, Address, Complaint, Observation, OptionWarning, Probe, ProbeFailure, Transport
from checker.probes.http import http_address, shown_url
from checker.probes.mcp import contract as contracts
from checker.probes.mcp import protocol_versions
from checker.probes.mcp.http_sse import HttpSse
from checker.probes.mcp.known_contract import EarlierContract
from checker.probes.mcp.list_pages import Offer
from checker.probes.mcp.option_validation import ONLY_HTTP, faults
from checker.probes.mcp.options import McpOptions, shown_command
from checker.probes.mcp.stdio import Stdio
from checker.probes.mcp.streamable import StreamableHttp
from checker.probes.oauth.bearer import Bearer
from checker.probes.oauth.token import withheld

ERA = "mcp_era"
"""Cache category: the era an endpoint spoke last."""
TRANSPORT = "mcp_transport"
"""Cache category: the transport an endpoint was reached over last."""

_SIGNING = ("authlib.oauth2.auth", "authlib.oauth2.rfc7523", "joserfc.jwk")
"""Includes the modules that the keys and signatures of `joserfc.jwk` load in turn."""
_OTHER_TRANSPORT = (400, 404, 405)
_NOT_SSE_ANY_MORE = {Reason.HTTP_STATUS, Reason.MCP_NOT_JSONRPC, Reason.MCP_NO_REPLY, Reason.MCP_INVALID_RESULT}


def attempt(options: McpOptions, transport: Transport, seen: Observation, memory: Mapping[str, str]) -> None:
    """Speak MCP with the server once; observations are in ``seen``, also when ProbeFailure is raised."""
    try:
        _note(options, _by_transport(options, transport, seen, memory), seen, memory)
    except BaseException:  # a deadline too
        if seen.closing is not None:
            seen.closing.leave(transport)
        raise
    seen.is_answered = True
    if seen.closing is not None:
        start = perf_counter()
        try:
            seen.closing.end(transport)
        finally:
            seen.closing_us = round((perf_counter() - start) * 1e6)


def _note(options: McpOptions, offer: Offer, seen: Observation, memory: Mapping[str, str]) -> None:
    """Record facts about the server, and complain about missing items in its offer."""
    facts = seen.mcp or McpFacts()
    seen.remember[ERA], seen.remember[TRANSPORT] = facts.era or "", facts.transport or ""
    seen.mcp = contracts.note(offer, options.expected_tools, facts, seen, memory)
    listed = offer.lists.get("tools")
    if listed is None and options.expected_tools:
        seen.complaints.append(
            Complaint(Status.UNHEALTHY, Reason.MCP_MISSING_TOOL, "the server announces no tools", "list")
        )
    if listed is None and "tools" in options.lists:
        seen.mcp = replace(seen.mcp, tool_count=0)


def _by_transport(options: McpOptions, transport: Transport, seen: Observation, memory: Mapping[str, str]) -> Offer:
    """The server's offer, over the transport that is configured, else remembered, else detected.

    For an address, detection means Streamable HTTP first, and HTTP+SSE if POST is refused (2025-11-25, Transports,
    Backwards Compatibility).
    """
    if options.command is not None:
        return _over_stdio(options, transport, seen, memory)
    earlier = EarlierContract.of(memory)
    bearer = None if options.oauth is None else Bearer(options.oauth, options.url, memory)
    way = options.transport if options.transport != "auto" else memory.get(TRANSPORT)
    if way == "sse":
        try:
            return _over_sse(transport, HttpSse(options, seen, bearer, earlier))
        except ProbeFailure as failure:
            if options.transport == "sse" or failure.reason not in _NOT_SSE_ANY_MORE:
                raise
    try:
        return protocol_versions.check(transport, StreamableHttp(options, seen, bearer, earlier), memory.get(ERA))
    except ProbeFailure as failure:
        refused = failure.reason is Reason.HTTP_STATUS and failure.stage == "initialize"
        if options.transport != "auto" or not refused or seen.http_status not in _OTHER_TRANSPORT or way == "sse":
            raise
        seen.suspicion, status = failure, seen.http_status
        channel = HttpSse(options, seen, bearer, earlier)
        try:
            channel.open(transport)
        except ProbeFailure as other:
            if other.reason not in _NOT_SSE_ANY_MORE:
                raise
            seen.http_status = status
            raise ProbeFailure(failure.reason, f"{failure.detail}, nor over HTTP+SSE", failure.stage) from None
        seen.suspicion = None
        return protocol_versions.check(transport, channel, "session")


def _over_sse(transport: Transport, channel: HttpSse) -> Offer:
    channel.open(transport)
    return protocol_versions.check(transport, channel, "session")


def _over_stdio(options: McpOptions, transport: Transport, seen: Observation, memory: Mapping[str, str]) -> Offer:
    channel = Stdio(options, seen, EarlierContract.of(memory))
    channel.open(transport)
    return protocol_versions.check(transport, channel, memory.get(ERA))


def judge(options: McpOptions, seen: Observation) -> list[Complaint]:
    """The complaints, all of which were found during the attempt."""
    return list(seen.complaints)


def address(options: McpOptions) -> Address:
    """An address, or a command; all commands share one limit."""
    if options.command is None:
        return http_address(options)
    return Address(
        command_key(options.command, options.args, options.cwd), shown_command(options.command, options.args), COMMANDS
    )


def not_inherited(own: Mapping[str, Any]) -> Collection[str]:
    """Defaults meant for servers over HTTP, which a server started by command does not inherit."""
    return ONLY_HTTP if "command" in own else ()


def libraries(options: McpOptions) -> Iterator[str]:
    """The modules for schema dialects, large messages, OAuth signatures, programs and conditions on calls."""
    yield from ("checker.probes.mcp.schema_dialects", "checker.probes.mcp.large_messages")
    if options.oauth is not None:
        yield from _SIGNING
    if options.command is not None:
        yield from ("checker.worker.transport.stdio_programs", "ctypes")
    for call in options.calls:
        yield from conditions.libraries(call.expect.json, call.expect.text_regex)


def warnings(options: McpOptions) -> Iterator[OptionWarning]:
    """Warnings about credentials that are never sent."""
    if options.oauth is not None and (text := withheld(options.oauth)):
        yield OptionWarning("oauth", text, "oauth: without an issuer")


def requests(options: McpOptions) -> Iterator[str]:
    """The messages of a check; a list is only asked for where the server announces it."""
    if options.era != "session":
        yield "server/discover"
    if options.era != "sessionless":
        yield "initialize" if options.era == "session" else "or initialize"
        yield "notifications/initialized"
        if options.ping:
            yield "ping"
    for name in options.lists:
        yield f"{name.replace('resource_templates', 'resources/templates')}/list"
    for call in options.calls:
        if call.resource is not None:
            yield f"resources/read {shown_url(call.resource)}"
        else:
            yield f"tools/call {call.tool}" if call.tool is not None else f"prompts/get {call.prompt}"
    if options.command is None and options.era != "sessionless":
        yield "DELETE of the session"


PROBE = Probe(
    options=McpOptions,
    address=address,
    attempt=attempt,
    judge=judge,
    unusable=Reason.MCP_INVALID_RESULT,
    faults=faults,
    takes_usual_addresses=True,
    not_inherited=not_inherited,
    libraries=libraries,
    requests=requests,
    warnings=warnings,
)
