"""Full, valid records; a test overrides what it is about."""

from __future__ import annotations

import os
from typing import Any

from checker.model import Batch, CheckResult, McpFacts, ProbeResult, RunInfo, Server, Status
from checker.probes.mcp.options import McpOptions
from checker.probes.rest import RestOptions

AT_MS = 1_795_435_200_000


def server(name: str = "search", **values: Any) -> Server:
    probes = {"mcp": McpOptions(url="http://h/mcp"), "rest": RestOptions(url="http://h/health")}
    return Server(**{"name": name, "probes": probes, "group": "shop", "tags": ("prod",), **values})


def facts(**values: Any) -> McpFacts:
    good = {
        "era": "session",
        "protocol_version": "2025-11-25",
        "server_name": "demo",
        "server_version": "1",
        "capabilities": '{"tools":{}}',
        "tool_count": 2,
        "tools_digest": "d" * 64,
        "tools_bytes": 120,
    }
    return McpFacts(**{**good, **values})


def probe(kind: str = "rest", **values: Any) -> ProbeResult:
    good: dict[str, Any] = {
        "kind": kind,
        "status": Status.HEALTHY,
        "score": 1.0,
        "started_at_ms": AT_MS,
        "duration_us": 12_345,
        "url": f"http://h/{kind}",
        "stages_us": {"dns": 10, "connect": 200, "wait": 3_000, "transfer": 40},
        "http_status": 200,
        "received_bytes": 16,
        "connections_opened": 1,
        "reused": False,
        "mcp": facts() if kind == "mcp" else None,
    }
    return ProbeResult(**{**good, **values})


def check(name: str = "search", **values: Any) -> CheckResult:
    good: dict[str, Any] = {
        "server": name,
        "status": Status.HEALTHY,
        "score": 1.0,
        "started_at_ms": AT_MS,
        "duration_us": 15_000,
        "probes": (probe("mcp"), probe("rest")),
    }
    return CheckResult(**{**good, **values})


def batch(*checks: CheckResult, **values: Any) -> Batch:
    return Batch(checks=checks, **values)


def run_info(**values: Any) -> RunInfo:
    good = {
        "started_at_ms": AT_MS,
        "servers_expected": 1,
        "workers": 1,
        "concurrency": 5,
        "host": "here",
        "pid": os.getpid(),
    }
    return RunInfo(**{**good, **values})
