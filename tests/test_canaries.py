"""Secrets that servers send back are in nothing that is printed, logged, reported or stored: generated, end to end."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from canaries import EXAMPLES, leaks
from servers_echo import PLACES, PROGRAM, WHERE, Echo, EchoServer, generated

Status = Callable[..., subprocess.CompletedProcess[Any]]
AT_ONCE = min(EXAMPLES, 100)
REPORTS = ("availability", "latency", "trends", "incidents", "contract", "cost", "recommendations")


def configured(folder: Path, server: EchoServer) -> Path:
    """A configuration with all the servers; what is shared by them and holds no secret is not in it."""
    program = folder / "program.py"
    entries = []
    for echo in server.echoes:
        said = folder / f"said-{echo.number}.json"
        if echo.where.startswith("stdio"):
            said.write_text(json.dumps([echo.said, echo.place]))
        entry = server.entry(echo, str(program))
        if echo.where.startswith("stdio"):
            entry["mcp"]["args"].insert(1, str(said))
        entries.append(entry)
    program.write_text(PROGRAM)
    config = folder / "fleet.yaml"
    escaped = json.dumps({"servers": entries}, ensure_ascii=False).replace("$", "$$")
    config.write_text(escaped, encoding="utf-8")
    return config


def sinks(status: Status, folder: Path, config: Path) -> Iterator[tuple[str, str]]:
    """Everything that is printed, written and stored, with the place where it is found."""
    for form in ("table", "json", "csv", "ndjson"):
        done = status("check", config, "-vv", "--format", form, text=False)
        yield f"check, {form}", (done.stdout + done.stderr).decode("utf-8", "replace")
        assert b"internal_error" not in done.stdout
    yield "validate", _printed(status("config", "validate", config))
    for table in ("probe_history", "contracts", "mcp_facts", "probe_errors", "latest_status"):
        yield (
            f"sql, {table}",
            _printed(status("sql", f"select * from {table}", "--format", "json", "--limit", "100000")),
        )
    for report in REPORTS:
        for form in ("json", "html") if report != "recommendations" else ("json",):
            yield f"report {report}, {form}", _printed(status("report", report, "--format", form))
    status("report", "site", folder / "site")
    yield from ((f"site, {file.name}", _read(file)) for file in (folder / "site").rglob("*") if file.is_file())
    yield "contract", _printed(status("contract", "s0"))
    yield "cache", _printed(status("cache", "show"))
    yield from ((file.name, _read(file)) for file in folder.glob("history.db*"))


def _printed(done: subprocess.CompletedProcess[str]) -> str:
    return done.stdout + done.stderr


def _read(file: Path) -> str:
    return file.read_bytes().decode("utf-8", "replace")


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", range(max(1, EXAMPLES // AT_ONCE)))
def test_no_sink_has_a_secret_in_it(status: Status, tmp_path: Path, seed: int) -> None:
    with EchoServer(generated(seed, AT_ONCE)) as server:
        config = configured(tmp_path, server)
        texts = dict(sinks(status, tmp_path, config))
        checks = json.loads(texts["check, json"].partition("\n}\n")[0] + "}")["checks"]
        found = [
            (echo.where, echo.echo, echo.place, place, leaked)
            for place, text in texts.items()
            for echo in server.echoes
            if (leaked := leaks(echo.secret, echo.echo, text))
        ]
    assert found == []
    assert len(checks) == AT_ONCE
    assert sum("***" in text for text in texts.values()) > 5


def test_generated_servers_cover_every_place() -> None:
    echoes = [echo for seed in range(4) for echo in generated(seed, AT_ONCE)]
    assert {echo.where.partition(": ")[2] for echo in echoes} == set(WHERE)
    assert {echo.place for echo in echoes} == {place for places in PLACES.values() for place in places}
    assert {type(echo) for echo in echoes} == {Echo}
