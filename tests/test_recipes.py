"""The recipes of CONTRIBUTING.md, done as they are written in a copy of the project, with the real command."""

from __future__ import annotations

import ast
import csv
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("checker", "storage", "reports", "config", "scripts")
GREETING = b"220 ready\r\n"
_STEP = re.compile(
    r"^(?:New file `(?P<new>[^`]+)`|At the end of `(?P<name>\w+)` in `(?P<old>[^`]+)`):\n\n"
    r"```python\n(?P<text>.*?)```$",
    re.MULTILINE | re.DOTALL,
)


class Project:
    """A copy of the project in which recipes are followed."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.touched = folder, list[str]()
        for part in PARTS:
            # With what is compiled already; what is being written at this moment is not to be had.
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("*.pyc.*"))
        (folder / "docs").mkdir()
        shutil.copy(ROOT / "docs" / "check.schema.json", folder / "docs")

    def follow(self, heading: str) -> None:
        """Do what the recipe under this heading says."""
        text = (ROOT / "CONTRIBUTING.md").read_text()
        recipe = text.partition(f"\n## {heading}")[2].partition("\n## ")[0]
        steps = list(_STEP.finditer(recipe))
        assert steps, f"CONTRIBUTING.md has no recipe {heading!r}"
        for step in steps:
            self.touched.append(step["new"] or step["old"])
            file = self.folder / self.touched[-1]
            if step["new"]:
                assert not file.exists()
                file.write_text(step["text"])
            else:
                file.write_text(_with_end(file.read_text(), step["name"], step["text"]))

    def run(self, *arguments: str, code: int | None = 0) -> str:
        """What the copy's `mcp-status` prints."""
        return self._done(["-P", "-m", "checker", *arguments], code)

    def script(self, name: str) -> None:
        """Run one of the copy's scripts."""
        self._done([f"scripts/{name}"], 0)

    def _done(self, arguments: list[str], code: int | None) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(self.folder), "MCP_STATUS_DB": str(self.folder / "history.db")},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code or code is None, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def json(self, *arguments: str, code: int | None = 0) -> Any:
        return json.loads(self.run(*arguments, "--format", "json", code=code))

    def sql(self, query: str) -> list[dict[str, Any]]:
        return list(csv.DictReader(StringIO(self.run("sql", query, "--format", "csv"))))


def _with_end(source: str, name: str, more: str) -> str:
    """The source with something more in the dict, tuple or class of this name."""
    lines = source.splitlines(keepends=True)
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            assert node.end_lineno is not None
            return "".join([*lines[: node.end_lineno], more, *lines[node.end_lineno :]])
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if name in [target.id for target in targets if isinstance(target, ast.Name)]:
            value = node.value  # type: ignore[attr-defined] # an assignment has one
            line, column = value.end_lineno - 1, value.end_col_offset - 1
            before, after = lines[line][:column], lines[line][column:]
            return "".join([*lines[:line], before, "" if column == 0 else "\n", more, after, *lines[line + 1 :]])
    raise AssertionError(f"there is no {name}")


@contextmanager
def greeting_server() -> Iterator[str]:
    """A server that greets whoever connects; its address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with connection, suppress(OSError):
                        connection.sendall(GREETING)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"tcp://127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(5)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A copy with the kind of probe of the recipe, that has checked a server of it five times and a dead one."""
    made = Project(tmp_path_factory.mktemp("project"))
    made.run("check", "--rest", "http://127.0.0.1:9/", code=2)  # a database that knows nothing of the kind
    made.follow("A new kind of probe")
    with greeting_server() as url:
        config = {
            "defaults": {"tcp": {"timeout": 2}},
            "servers": [
                {"name": "greets", "tcp": {"url": url, "greeting": "220 "}},
                {"name": "silent", "tcp": "tcp://127.0.0.1:9", "objective": 0.99},
            ],
        }
        (made.folder / "fleet.yaml").write_text(json.dumps(config))
        for _ in range(5):
            made.run("check", "fleet.yaml", code=2)
        yield made


def test_a_kind_of_probe_takes_one_file_and_its_entry(project: Project) -> None:
    assert project.touched == ["checker/probes/tcp.py", "checker/probe_kinds.py"]


def test_it_is_checked_and_its_stages_are_in_the_document(project: Project) -> None:
    checks = {one["server"]: one for one in project.json("check", "fleet.yaml", code=2)["checks"]}
    (greets,), (silent,) = checks["greets"]["probes"], checks["silent"]["probes"]
    assert (greets["kind"], greets["status"], set(greets["stages"])) == (
        "tcp",
        "HEALTHY",
        {"dns_ms", "connect_ms", "greeting_ms"},
    )
    assert (silent["status"], silent["reason"], silent["failed_stage"]) == ("UNHEALTHY", "connect_refused", "connect")


def test_it_has_an_option_of_check_and_a_place_in_help(project: Project) -> None:
    url = json.loads((project.folder / "fleet.yaml").read_text())["servers"][0]["tcp"]["url"]
    (probe,) = project.json("check", "--tcp", url, "--db", "adhoc.db")["checks"][0]["probes"]
    assert (probe["kind"], probe["url"], probe["status"]) == ("tcp", url, "HEALTHY")
    assert "--tcp URL" in project.run("check", "--help")
    assert "[mcp|rest|tcp]" in project.run("report", "latency", "--help")
    project.run("check", "--tcp", "http://127.0.0.1/", code=3)


def test_settings_and_their_schema_know_it(project: Project) -> None:
    project.run("config", "validate", "fleet.yaml")
    (project.folder / "wrong.yaml").write_text(json.dumps({"servers": [{"name": "a", "tcp": {"url": "tcp://x"}}]}))
    project.run("config", "validate", "wrong.yaml", code=3)
    schema = json.loads(project.run("config", "schema"))
    assert "greeting" in json.dumps(schema["$defs"]["TcpOptions"]["properties"])


def test_views_have_its_stages_also_in_a_database_that_is_older(project: Project) -> None:
    (row,) = project.sql(
        "select count(*) as probes, count(greeting_ms) as timed from probe_history where kind = 'tcp' "
        "and server = 'greets' and status = 'HEALTHY'"
    )
    assert int(row["probes"]) == int(row["timed"]) >= 5
    assert project.sql("select count(*) as old from probe_history where kind = 'rest'") == [{"old": "1"}]


@pytest.mark.parametrize(
    ("report", "server"), [("availability", "greets"), ("latency", "greets"), ("incidents", "silent")]
)
def test_reports_have_its_servers(project: Project, report: str, server: str) -> None:
    assert server in project.run("report", report, "--format", "json")
    assert server in project.run("report", report, "--format", "html")


def test_trends_and_recommendations_look_at_it(project: Project) -> None:
    assert "servers" in project.json("report", "trends", "--kind", "tcp")
    assert project.json("report", "recommendations")["looked_at"]["checks"] >= 11


def test_latency_is_told_by_its_stages(project: Project) -> None:
    rows = project.run("report", "latency", "--by", "stage", "--kind", "tcp", "--format", "csv")
    assert re.findall(r"^tcp,(\w+),", rows, re.MULTILINE) == ["total", "dns", "connect", "greeting"]
    assert "greets" in project.run("report", "latency", "--stage", "greeting", "--format", "csv")


def test_the_site_has_it(project: Project) -> None:
    project.run("report", "site", "public")
    page = next(project.folder.glob("public/**/*greets*.html")).read_text()
    assert "tcp" in page


def test_it_can_be_loaded(project: Project) -> None:
    url = json.loads((project.folder / "fleet.yaml").read_text())["servers"][0]["tcp"]["url"]
    arguments = ("--rate", "20", "--duration", "1s", "--warm-up", "0s", "--operation", "tcp")
    run = project.json("bench", "quick", url, *arguments, code=None)
    (series,) = run["series"]
    assert (series["operation"], series["measured"]["failed"]) == ("tcp", 0)
    assert "tcp" in project.run("bench", "quick", "--help")


def test_a_report_takes_one_file_and_its_line(project: Project) -> None:
    project.touched.clear()
    project.follow("A new report")
    assert project.touched == ["reports/counts.py", "checker/cli/report.py"]
    rows = project.json("report", "counts")["sections"]["counts"]
    assert {row["server"] for row in rows} >= {"greets", "silent"}
    assert re.search(r"^greets,\d+$", project.run("report", "counts", "--server", "greets", "--format", "csv"), re.M)
    assert '"greets"' in project.run("report", "counts", "--format", "ndjson")
    assert "<html" in project.run("report", "counts", "--format", "html")
    assert "greets" in project.run("report", "counts")
    assert "Count the checks" in project.run("report", "counts", "--help")
    assert "How many checks each server had." in project.run("report", "--help")


def test_a_figure_takes_its_field_and_a_step(project: Project) -> None:
    project.touched.clear()
    project.follow("A new figure of a probe")
    assert project.touched == ["checker/model.py", "storage/schema.py"]
    probe = project.folder / "checker" / "probes" / "tcp.py"
    (noted,) = re.findall(r"`(seen\.figures\[.*?\] = .*?)`", (ROOT / "CONTRIBUTING.md").read_text())
    received = "            seen.body = connection.recv(_LONGEST_GREETING)\n"
    probe.write_text(probe.read_text().replace(received, f"{received}            {noted}\n"))
    document = project.json("check", "fleet.yaml", "--server", "greets")
    assert document["checks"][0]["probes"][0]["greeting_bytes"] == len(GREETING)
    assert project.sql("select max(greeting_bytes) as most, count(*) > 1 as older from probe_history") == [
        {"most": str(len(GREETING)), "older": "1"}
    ]
    assert "bytes of the greeting" in project.run("sql", "--schema")
    for script in ("config_schema", "views_page", "schema_sql"):
        project.script(script)
    schema = json.loads((project.folder / "docs" / "check.schema.json").read_text())
    Draft202012Validator(schema).validate(document)
    assert "| `greeting_bytes` | bytes of the greeting |" in (project.folder / "docs" / "views.md").read_text()
