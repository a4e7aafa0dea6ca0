"""`check --dry-run`: what would be asked of whom; nothing is sent, stored or shown that is secret."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from servers import McpServer, RestServer

Run = Callable[..., subprocess.CompletedProcess[Any]]


def test_plan_has_every_request_that_the_check_then_makes(status: Run, tmp_path: Path) -> None:
    with McpServer() as mcp, RestServer() as rest:
        servers = [
            {
                "name": "both",
                "tags": ["t"],
                "mcp": {
                    "url": f"{mcp.url()}?key=c4nary-query",
                    "headers": {"X-Api-Key": "c4nary-header"},
                    "calls": [{"tool": "search", "arguments": {"q": "c4nary-argument"}}],
                },
                "rest": {"url": rest.url(), "bearer": "c4nary-bearer", "retry": {"max_attempts": 3}},
            },
            {
                "name": "other",
                "mcp": {"command": "npx", "args": ["--token", "c4nary-arg"], "env": {"KEY": "c4nary-env"}},
            },
        ]
        config = tmp_path / "fleet.yaml"
        config.write_text(yaml.safe_dump({"servers": servers}))
        done = status("check", config, "--dry-run", "--format", "json")
        assert (done.returncode, done.stderr) == (
            0,
            "3 probes of 2 servers with 1 worker, at most 500 at once; nothing was sent\n",
        )
        assert (sum(mcp.methods.values()), list(tmp_path.glob("history.db*"))) == (0, []), "nothing is sent or stored"
        of_mcp, of_rest, command = json.loads(done.stdout)["probes"]
        assert status("check", config, "--tag", "t").returncode in (0, 1, 2)
        asked = {one.removeprefix("or ").partition(" ")[0] for one in of_mcp["requests"]}
        assert set(mcp.methods) <= asked | {"DELETE"}
    assert of_mcp["target"] == f"{mcp.url()}?key=***"
    assert of_mcp["sends"] == ["X-Api-Key: ***"]
    assert (of_rest["requests"][0], of_rest["sends"], of_rest["attempts"]) == ("GET", ["Authorization: ***"], 3)
    assert (command["target"], command["sends"]) == ("stdio: npx --token '***'", ["KEY=***"])
    for fmt in ("table", "csv", "ndjson"):
        text = status("check", config, "--dry-run", "--format", fmt).stdout
        assert "c4nary" not in text + done.stdout


def test_selection_and_guesses_are_those_of_a_check(status: Run) -> None:
    done = status("check", "http://127.0.0.1:9/mcp", "http://127.0.0.1:9/health", "--dry-run", "--format", "ndjson")
    assert [json.loads(line)["server"] for line in done.stdout.splitlines()] == [
        "127.0.0.1:9/mcp",
        "127.0.0.1:9/health",
    ]
    assert "checked as MCP, by its looks" in done.stderr
