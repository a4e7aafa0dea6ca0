"""Every hostile server there is: what it does, over what, how it is configured, and what is to be said of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hostile import certificates, http, mcp, messages, oauth, programs
from hostile.messages import CANARY, said_to
from hostile.peer import Behaviour

DEADLINE_S = 3.0
START_S = 3.0
"""What a program gets on top of the deadline: an interpreter is started, on a machine that may be busy."""
LATE_S = 0.5
"""What a verdict may take beyond the deadline."""
_FAIR = {
    "healthy": {"HEALTHY"},
    "auth_required": {"DEGRADED"},
    "rate_limited": {"DEGRADED"},
    "mcp_schema_invalid": {"UNHEALTHY", "DEGRADED"},
    "mcp_invalid_result": {"UNHEALTHY", "DEGRADED"},
}
"""Reason -> statuses that go with it; every other one is UNHEALTHY. ``healthy`` stands for no reason at all."""


@dataclass(frozen=True, slots=True)
class Hostile:
    """One hostile server."""

    fault: str
    way: str
    """What it is asked over: REST, MCP (Streamable HTTP), MCP stream, HTTP+SSE, stdio, or OAuth; over TLS or not."""
    reasons: frozenset[str]
    """Those that are true of it, ``healthy`` among them where a check may pass the fault over."""
    behaviour: Behaviour | None
    """None for a port at which nobody listens, and for a program."""
    certificate: str | None = None
    """Of `servers_faults.certificates`; None speaks without TLS."""
    bare: bool = False
    """Whether what is served as https is the bare connection."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of its probe; ``{self}`` and ``{trap}`` in texts are filled in."""

    @property
    def name(self) -> str:
        return f"{self.way}: {self.fault}"

    @property
    def is_loud(self) -> bool:
        """Whether it keeps its process busy, so that others there would be late."""
        return any(word in self.fault for word in ("endless", "without end", "bomb", "million", "00,000", "50,000"))

    @property
    def kind(self) -> str:
        return "rest" if self.way.startswith("REST") else "mcp"

    def may_be(self, status: str, reason: str) -> bool:
        """Whether this is a true verdict on it."""
        return reason in self.reasons and status in _FAIR.get(reason, {"UNHEALTHY"})

    @property
    def bound_s(self) -> float:
        """The longest a check of it may take."""
        return DEADLINE_S + LATE_S + (START_S if self.way == "stdio" else 0)

    def configured(self, port: int, trap: str) -> dict[str, Any]:
        """Its entry in a configuration."""
        deadline_s = self.bound_s - LATE_S
        scheme = "https" if self.certificate or self.bare else "http"
        own: dict[str, Any] = {"timeout": f"{deadline_s}s", **self.options}
        if scheme == "https":
            own["tls"] = {"ca_file": "ca.pem"}  # from the folder of the configuration
        if self.way == "stdio":
            own |= {"command": sys.executable, "args": ["-SE", str(_PROGRAM), self.fault, trap], "transport": "stdio"}
            own["shutdown_timeout"] = "200ms"
        else:
            own["url"] = f"{scheme}://127.0.0.1:{port}/{'health' if self.kind == 'rest' else 'mcp'}"
        return {"name": self.name, self.kind: _filled(own, port, trap)}


_PROGRAM = Path(programs.__file__)
_UP = {"expect": {"json": [{"path": "$.status", "equals": "UP"}]}, "max_body": "10MiB"}


def _filled(value: Any, port: int, trap: str) -> Any:
    if isinstance(value, dict):
        return {name: _filled(one, port, trap) for name, one in value.items()}
    if isinstance(value, list):
        return [_filled(one, port, trap) for one in value]
    return (
        value.replace("{self}", f"http://127.0.0.1:{port}").replace("{trap}", trap) if isinstance(value, str) else value
    )


def _wire() -> Iterator[Hostile]:
    """Faults below what is spoken: for both kinds of probe, plain and over TLS."""
    for way, options in (("REST", {}), ("MCP", {"transport": "streamable-http", "max_body": "1MiB"})):
        yield Hostile("refuses", way, frozenset({"connect_refused"}), None)
        for fault, (behaviour, reasons) in http.WIRE.items():
            said = {**options, "bearer": CANARY}
            yield Hostile(fault, way, frozenset(reasons.split()), behaviour, options=said)
            yield Hostile(fault, f"{way} over TLS", _over_tls(reasons), behaviour, "good", options=said)
        for fault, (behaviour, reasons) in certificates.HANDSHAKES.items():
            yield Hostile(fault, f"{way} over TLS", frozenset(reasons.split()), behaviour, bare=True, options=options)
        for fault, (certificate, reasons) in certificates.CERTIFICATES.items():
            served = http.answering(http.OK)
            yield Hostile(fault, f"{way} over TLS", frozenset(reasons.split()), served, certificate, options=options)


def _over_tls(reasons: str) -> frozenset[str]:
    """A connection that breaks off right after the handshake may be noticed while it is still made."""
    return frozenset(reasons.split()) | ({"tls_handshake"} if "connection_closed" in reasons else set())


def _bodies() -> Iterator[Hostile]:
    for fault, (behaviour, reasons) in http.BODIES.items():
        yield Hostile(fault, "REST", frozenset(reasons.split()), behaviour, options=_UP)
    poisoned = {"expect": {"body_regex": r"\s+UP$"}, "max_body": "10MiB"}
    yield Hostile(
        "body that poisons a regular expression",
        "REST",
        frozenset({"condition_failed"}),
        http.answering(http.POISON),
        options=poisoned,
    )


def _said() -> Iterator[Hostile]:
    """Faults of what is said, over every transport."""
    for faults, method in ((messages.TOOL_LISTS, "tools/list"), (messages.INITIALIZE, "initialize")):
        for fault, (_, reasons) in faults.items():

            def answer(
                peer: Any, message: Any, fault: str = fault, faults: Any = faults, method: str = method
            ) -> bytes:
                return said_to(fault, message, faults, method, peer.trap)

            true = frozenset(reasons.split())
            yield Hostile(fault, "MCP", true, mcp.over_json(answer))
            yield Hostile(fault, "MCP stream", true, mcp.over_stream(answer))
            yield Hostile(fault, "HTTP+SSE", true, mcp.over_sse(answer), options={"transport": "sse"})
            if fault in messages.OVER_STDIO:
                yield Hostile(fault, "stdio", true | _WAITS, None)


_WAITS = frozenset({"deadline"})
"""A program that says something that is no reply may still say one: it is waited for."""


def _streams() -> Iterator[Hostile]:
    for fault, (fill, reasons) in mcp.STREAMS.items():
        true = frozenset(reasons.split())
        yield Hostile(fault, "MCP stream", true, mcp.over_stream(None, fill))
        yield Hostile(
            fault, "HTTP+SSE", true | {"connection_closed"}, mcp.over_sse(None, fill), options={"transport": "sse"}
        )
    for fault, (fill, reasons) in mcp.RESUMED.items():
        yield Hostile(fault, "MCP stream", frozenset(reasons.split()), mcp.over_stream(None, fill))
    for fault, (behaviour, reasons) in mcp.ENDPOINTS.items():
        yield Hostile(fault, "HTTP+SSE", frozenset(reasons.split()), behaviour, options={"transport": "sse"})
    for fault, (behaviour, reasons) in mcp.SESSIONS.items():
        yield Hostile(fault, "MCP", frozenset(reasons.split()), behaviour)
    for fault, (answer, reasons) in mcp.ECHOES.items():
        yield Hostile(fault, "MCP", frozenset(reasons.split()), mcp.over_json(answer), options={"bearer": CANARY})


def _others() -> Iterator[Hostile]:
    for fault, (behaviour, reasons) in oauth.SERVERS.items():
        asked = {"oauth": {"client_id": "checker", "client_secret": CANARY, "issuer": "{self}"}}
        yield Hostile(fault, "OAuth", frozenset(reasons.split()), behaviour, options=asked)
    for fault, (_, reasons) in programs.PROGRAMS.items():
        yield Hostile(fault, "stdio", frozenset(reasons.split()), None)


KINDS: dict[str, Hostile] = {one.name: one for make in (_wire, _bodies, _said, _streams, _others) for one in make()}
"""Name -> hostile server, in the order of the fault table."""
