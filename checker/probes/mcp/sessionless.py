"""The sessionless era, protocol version 2026-07-28: no handshake, all client facts repeated with every request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from checker.model import McpFacts, Reason
from checker.probes.base import ProbeFailure, Transport
from checker.probes.mcp.configured_calls import make_calls
from checker.probes.mcp.list_pages import Offer, read_lists
from checker.probes.mcp.result_types import capabilities_text, instructions_text, server_identity
from checker.probes.mcp.rpc_channel import CLIENT_INFO, Answer, Channel

VERSION = "2026-07-28"
_META = "io.modelcontextprotocol/"
_VERSION_HEADER = {"MCP-Protocol-Version": VERSION}
_UNSUPPORTED_VERSION = -32022
_NO_PROPER_REPLY = {Reason.MCP_NOT_JSONRPC, Reason.MCP_NO_REPLY}


class Discovered(NamedTuple):
    """The result of server/discover."""

    result: Mapping[str, Any]
    source: bytes
    """Its text, as in `Answer.source`."""


def discover(transport: Transport, channel: Channel) -> Discovered | None:
    """The result of server/discover; None if the endpoint does not speak this era.

    Anything but a result that names the version, or the error that names it, means the other era: servers of the
    session era answer an unknown first request in many ways, most of them valid.
    """
    with transport.timed("discover"):
        for _ in range(2):
            try:
                answer = ask(transport, channel, "server/discover", {})
            except ProbeFailure as failure:
                if failure.reason in _NO_PROPER_REPLY:
                    return None
                raise
            if answer.result is not None:
                return supported(answer.result, answer.source)
            if answer.error is None or answer.error.code != _UNSUPPORTED_VERSION:
                return None
            data = answer.error.data if isinstance(answer.error.data, dict) else {}
            if not isinstance(named := data.get("supported"), list) or VERSION not in named:
                return None
    return None


def supported(result: Mapping[str, Any] | None, source: bytes = b"") -> Discovered | None:
    """The result of server/discover, if it is one and names the version of this era."""
    if result is None or not isinstance(versions := result.get("supportedVersions"), list) or VERSION not in versions:
        return None
    return Discovered(result, source)


def check(transport: Transport, channel: Channel, found: Discovered) -> Offer:
    """Read the lists and make the calls. Fills in the facts of the attempt; raises ProbeFailure."""
    discovered = found.result
    capabilities = discovered.get("capabilities")
    if not isinstance(capabilities, dict):
        raise ProbeFailure(Reason.MCP_INVALID_RESULT, "server/discover: capabilities is not an object", "discover")
    meta = discovered.get("_meta")
    info = meta.get(_META + "serverInfo") if isinstance(meta, dict) else None
    name, version = server_identity(info if info is not None else discovered.get("serverInfo"))
    channel.seen.mcp = McpFacts(
        era="sessionless",
        transport=channel.name,
        protocol_version=VERSION,
        server_name=name,
        server_version=version,
        capabilities=capabilities_text(capabilities),
    )
    identity = {"name": name, "version": version}
    sources = [found.source] if found.source else None
    offer = Offer(VERSION, identity, capabilities, instructions_text(discovered.get("instructions")), sources=sources)

    def ask_here(method: str, params: Mapping[str, Any], headers: Mapping[str, str]) -> Answer:
        return ask(transport, channel, method, params, headers)

    with transport.timed("list"):
        read_lists(ask_here, offer, channel.options, channel.seen, channel.earlier)
    if channel.options.calls:
        make_calls(transport, ask_here, channel.options.calls, offer, channel.seen)
    return offer


def ask(
    transport: Transport,
    channel: Channel,
    method: str,
    params: Mapping[str, Any],
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """One request, with all the facts it has to state about the client."""
    meta = {
        _META + "protocolVersion": VERSION,
        _META + "clientInfo": CLIENT_INFO,
        _META + "clientCapabilities": {},
    }
    sent = {"MCP-Protocol-Version": VERSION, **headers} if headers else _VERSION_HEADER
    return channel.call(transport, method, {**params, "_meta": meta}, sent)
