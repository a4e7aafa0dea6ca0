"""The command as users run it: what it prints in each format, with which exit code, and never a traceback."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from servers import McpServer, RestServer, Scripted
from servers_faults import FaultServer, closed_port

ROOT = Path(__file__).resolve().parent.parent
Status = Callable[..., subprocess.CompletedProcess[Any]]


@pytest.fixture
def fleet(tmp_path: Path) -> Any:
    paths = {"/degraded": Scripted(429), "/down": Scripted(500)}
    with McpServer() as mcp, RestServer(paths) as rest:
        servers = [
            {"name": "good", "tags": ["fine"], "group": "g", "mcp": mcp.url(), "rest": rest.url()},
            {"name": "half", "mcp": mcp.url(), "rest": rest.url("/down")},
            {"name": "slowed", "tags": ["fine"], "rest": rest.url("/degraded")},
            {"name": "dead", "rest": f"http://127.0.0.1:{closed_port()}/"},
        ]
        config = tmp_path / "fleet.yaml"
        config.write_text(yaml.safe_dump({"servers": servers}))
        yield config


def test_table_shows_the_worst_first_and_a_summary(status: Status, fleet: Path) -> None:
    done = status("check", fleet)
    lines = [line.split()[:2] for line in done.stdout.splitlines() if len(line.split()) > 2]
    assert [line for line in lines if line[1].isupper()] == [
        ["dead", "UNHEALTHY"],
        ["half", "DEGRADED"],
        ["slowed", "DEGRADED"],
        ["good", "HEALTHY"],
    ]
    assert "run 1: 1 HEALTHY, 2 DEGRADED, 1 UNHEALTHY in" in done.stdout
    assert (done.returncode, done.stderr) == (2, "")


def test_json_keeps_its_published_schema(status: Status, fleet: Path) -> None:
    document = json.loads(status("check", fleet, "--format", "json").stdout)
    schema = json.loads((ROOT / "docs" / "check.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(document)
    by_name = {check["server"]: check for check in document["checks"]}
    assert {name: check["status"] for name, check in by_name.items()} == {
        "good": "HEALTHY",
        "half": "DEGRADED",
        "slowed": "DEGRADED",
        "dead": "UNHEALTHY",
    }
    assert [probe["kind"] for probe in by_name["good"]["probes"]] == ["mcp", "rest"]
    assert by_name["good"]["probes"][0]["mcp"]["capabilities"] == {"tools": {}}
    assert by_name["half"]["score"] == 0.5
    assert document["run"]["counts"] == {"HEALTHY": 1, "DEGRADED": 2, "UNHEALTHY": 1, "UNKNOWN": 0}


@pytest.mark.parametrize("fmt", ["table", "json", "ndjson", "csv"])
def test_problems_alone_and_any_order_in_every_format(status: Status, fleet: Path, fmt: str) -> None:
    def names(*arguments: str) -> list[str]:
        done = status("check", fleet, "--format", fmt, *arguments)
        assert done.returncode == 2
        if fmt == "json":
            document = json.loads(done.stdout)
            assert document["run"]["counts"]["HEALTHY"] == 1, "the run is told as it was"
            return [one["server"] for one in document["checks"]]
        if fmt == "ndjson":
            return [json.loads(line)["server"] for line in done.stdout.splitlines()]
        if fmt == "csv":
            return [row["server"] for row in csv.DictReader(io.StringIO(done.stdout))]
        words = [line.split() for line in done.stdout.splitlines()]
        return [line[0] for line in words if len(line) > 2 and line[1].isupper()]

    assert names("--sort", "name") == ["dead", "good", "half", "slowed"]
    assert names("--sort", "worst") == ["dead", "half", "slowed", "good"]
    assert names("--problems", "--sort", "worst") == ["dead", "half", "slowed"]
    assert sorted(names("--problems")) == ["dead", "half", "slowed"]
    durations = {row["server"]: float(row["duration_ms"]) for row in _csv(status, fleet)}
    slowest = _csv(status, fleet, "--sort", "slowest")
    assert [float(row["duration_ms"]) for row in slowest] == sorted(
        (float(row["duration_ms"]) for row in slowest), reverse=True
    )
    assert durations.keys() == {row["server"] for row in slowest}


def _csv(status: Status, fleet: Path, *arguments: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(status("check", fleet, "--format", "csv", *arguments).stdout)))


def test_ndjson_and_csv_have_a_line_for_each_check(status: Status, fleet: Path) -> None:
    lines = status("check", fleet, "--format", "ndjson").stdout.splitlines()
    assert sorted(json.loads(line)["server"] for line in lines) == ["dead", "good", "half", "slowed"]
    table = list(csv.DictReader(io.StringIO(status("check", fleet, "--format", "csv").stdout)))
    by_name = {row["server"]: row for row in table}
    assert (by_name["half"]["mcp_status"], by_name["half"]["rest_reason"]) == ("HEALTHY", "http_status")
    assert by_name["dead"]["mcp_status"] == ""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--tag", "fine"], 1),
        (["--tag", "fine", "--fail-on", "unhealthy"], 0),
        (["--group", "g"], 0),
        (["--server", "dead"], 2),
        (["--server", "dead", "--fail-on", "unhealthy"], 2),
        (["--server", "dead", "--fail-on", "never"], 0),
        (["--tag", "nope"], 3),
        (["--nonsense"], 3),
    ],
)
def test_exit_code_follows_the_worst_status(status: Status, fleet: Path, arguments: list[str], code: int) -> None:
    assert status("check", fleet, *arguments).returncode == code


def test_quiet_prints_nothing_and_verbose_logs_to_standard_error(status: Status, fleet: Path) -> None:
    quiet = status("check", fleet, "--quiet")
    assert (quiet.stdout, quiet.stderr, quiet.returncode) == ("", "", 2)
    json.loads(status("check", fleet, "-vv", "--format", "json").stdout)


def test_results_are_read_back_by_history_and_sql(status: Status, fleet: Path) -> None:
    for _ in range(2):
        status("check", fleet)
    history = json.loads(status("history", "half", "--format", "json").stdout)
    assert [check["run_id"] for check in history["checks"]] == [2, 1]
    assert "http_status" in status("history", "half").stdout
    assert len(status("history", "half", "--format", "csv", "--limit", "1").stdout.splitlines()) == 2
    query = "select server from latest_status where status <> 'HEALTHY' order by server"
    assert status("sql", query, "--format", "csv").stdout.split() == ["server", "dead", "half", "slowed"]
    assert json.loads(status("sql", query, "--format", "json").stdout)[0] == {"server": "dead"}
    assert status("sql", "select 1 where 0").returncode == 0


def test_sql_refuses_to_write(status: Status, fleet: Path) -> None:
    status("check", fleet)
    done = status("sql", "delete from checks")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "mcp-status: only reading is allowed here; this statement would do more\n"
    assert status("sql", "select count(*) from checks", "--format", "csv").stdout.split() == ["count(*)", "4"]


def test_sql_describes_its_views_and_limits_rows(status: Status, fleet: Path, tmp_path: Path) -> None:
    assert "duration of the check in milliseconds" in status("sql", "--schema").stdout
    status("check", fleet)
    limited = status("sql", "select * from latest_status", "--limit", "2", "--format", "ndjson")
    assert (len(limited.stdout.splitlines()), limited.stderr) == (2, "only the first 2 rows; raise --limit for more\n")
    (tmp_path / "q.sql").write_text("select count(*) as n from probe_errors")
    assert json.loads(status("sql", "--file", tmp_path / "q.sql", "--format", "json").stdout) == [{"n": 3}]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["check"],
            "nothing to check; name a config file, an address or a command, or give --mcp URL, --stdio COMMAND or",
        ),
        (["check", "none.yaml"], "none.yaml: No such file or directory; name a readable YAML file"),
        (["check", "x.yaml", "--mcp", "http://h/"], "a config, --from, and --mcp, --stdio or --rest at the same time"),
        (["check", "--mcp", "h:80/mcp"], "is not an http or https address"),
        (["check", "--stdio", ""], "--stdio: no command; write it as for a shell"),
        (["check", "--stdio", "a 'b"], "--stdio: No closing quotation in the command"),
        (["check", "--from", "none.json"], "none.json: "),
        (["check", "--from", "a.json", "--rest", "http://h/"], "a config, --from, and --mcp, --stdio or --rest"),
        (["contract", "search"], "no such database"),
        (["check", "config/minimal.yaml", "--timeout", "3s"], "--timeout goes with --mcp, --stdio and --rest"),
        (["check", "--rest", "http://h/", "--db", "/proc/none/h.db"], "/proc/none/h.db: "),
        (
            ["check", "--rest", "http://h/", "--db", ":memory:"],
            "a history in memory ends with the command; name a file",
        ),
        (
            ["check", "--rest", "http://h/", "--db", "docs"],
            "docs: a folder; name a file in it with --db, such as docs/",
        ),
        (["sql", "select 1", "--db", "docs"], "docs: a folder; name the file with the history in it with --db"),
        (["history", "search"], "no such database"),
        (["sql"], "give a query"),
        (["sql", "select 1"], "no such database"),
        (["config", "validate", "tests/data/invalid/unknown_probe_key.yaml"], 'did you mean "timeout"?'),
        (["nonsense"], "No such command"),
    ],
)
def test_mistakes_are_one_clear_message_and_code_3(status: Status, arguments: list[str], message: str) -> None:
    done = status(*arguments)
    assert (done.returncode, done.stdout) == (3, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_no_output_holds_a_secret(status: Status, tmp_path: Path) -> None:
    """A canary in every place a secret may stand; then everything that was printed and stored is searched."""
    paths = {"/echo": Scripted(body=b'{"status": "c4nary-bearer c4nary-header c4nary-query"}')}
    condition = [{"path": "$.status", "equals": "UP"}]
    with RestServer(paths) as rest, McpServer(errors={"initialize": (200, -1, "bad token c4nary-bearer")}) as mcp:
        servers = [
            {
                "name": "echo",
                "rest": {
                    "url": rest.url("/echo?key=c4nary-query"),
                    "bearer": "c4nary-bearer",
                    "headers": {"X-Api-Key": "c4nary-header"},
                    "expect": {"json": condition},
                },
            },
            {"name": "user", "rest": rest.url("/echo").replace("//", "//me:c4nary-password@")},
            {"name": "mcp", "mcp": {"url": mcp.url(), "bearer": "c4nary-bearer"}},
        ]
        config = tmp_path / "fleet.yaml"
        config.write_text(yaml.safe_dump({"servers": servers}))
        printed = [status("check", config, "-vv", "--format", fmt) for fmt in ("table", "json", "csv")]
    printed.append(status("config", "validate", config))
    text = "".join(done.stdout + done.stderr for done in printed)
    assert "***" in text
    assert "c4nary" not in text
    for file in tmp_path.glob("history.db*"):
        assert b"c4nary" not in file.read_bytes()


def test_other_folders_named_like_ours_are_not_imported(tmp_path: Path) -> None:
    (tmp_path / "storage.py").write_text("raise SystemExit('imported the wrong storage')")
    (tmp_path / "checker").mkdir()
    (tmp_path / "checker" / "__init__.py").write_text("raise SystemExit('imported the wrong checker')")
    with RestServer() as server:
        command = [
            Path(sys.executable).parent / "mcp-status",
            "check",
            "--rest",
            server.url(),
            "--db",
            tmp_path / "h.db",
        ]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_progress_is_drawn_on_a_terminal_only(tmp_path: Path) -> None:
    with RestServer({"/slow": Scripted(delay_s=0.4)}) as server:
        command = [sys.executable, "-m", "checker", "check", "--rest", server.url("/slow"), "--format", "json"]
        command += ["--db", str(tmp_path / "h.db")]
        parent, child = pty.openpty()
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=child, check=False)
        os.close(child)
        drawn = os.read(parent, 65536)
        os.close(parent)
    assert json.loads(done.stdout)["run"]["servers_checked"] == 1
    assert b"0/1" in drawn or b"1/1" in drawn


def test_closed_pipe_is_no_error(tmp_path: Path) -> None:
    with RestServer() as server:
        command = (
            f"{sys.executable} -m checker check --rest {server.url()} --db {tmp_path}/h.db --format json | head -c 1"
        )
        done = subprocess.run(["/bin/sh", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, "Traceback" in done.stderr, "Exception" in done.stderr) == ("{", False, False)


def test_remembered_era_saves_a_request_in_the_next_run(status: Status, tmp_path: Path) -> None:
    with McpServer() as server:
        for expected in (1, 1):
            assert status("check", "--mcp", server.url()).returncode == 0
            assert server.methods["server/discover"] == expected


def test_hanging_server_delays_a_run_by_its_deadline_only(status: Status) -> None:
    with FaultServer("silent") as server:
        done = status("check", "--mcp", server.url(), "--timeout", "1s", "--format", "json")
    document = json.loads(done.stdout)
    assert document["checks"][0]["reason"] == "first_byte_timeout"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["check"],
        ["history"],
        ["sql"],
        ["config"],
        ["config", "validate"],
        ["db"],
        ["report"],
        ["report", "availability"],
        ["report", "incidents"],
        ["report", "contract"],
        ["report", "cost"],
        ["report", "recommendations"],
        ["report", "latency"],
        ["report", "trends"],
        ["bench"],
        ["bench", "run"],
        ["bench", "quick"],
        ["bench", "report"],
        ["bench", "compare"],
        ["bench", "trend"],
        ["bench", "delete"],
        ["cache"],
        ["cache", "stats"],
        ["cache", "list"],
        ["cache", "clear"],
        ["selftest"],
    ],
)
def test_help_is_as_recorded(status: Status, arguments: list[str]) -> None:
    """`MCP_STATUS_UPDATE=1 pytest` records it anew."""
    shown = status(*arguments, "--help").stdout
    file = ROOT / "tests" / "snapshots" / f"help-{'-'.join(arguments) or 'mcp-status'}.txt"
    if os.environ.get("MCP_STATUS_UPDATE"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(shown)
    assert shown == file.read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["chek"], "No such command 'chek'. Did you mean 'check'?"),
        (["report", "availabilty"], "No such command 'availabilty'. Did you mean 'availability'?"),
        (["report", "latency", "--server", "haf"], "no server with name 'haf'; did you mean 'half'?"),
        (["report", "latency", "--tag", "x"], "no server with tag 'x'; there are: fine"),
        (["report", "latency", "--server", "dead", "--group", "g"], "'dead'; leave out one of them"),
    ],
)
def test_name_that_does_not_exist_gets_the_most_similar_one(
    status: Status, fleet: Path, arguments: list[str], said: str
) -> None:
    status("check", fleet, "-q")
    done = status(*arguments)
    assert (done.returncode, done.stdout) == (3, "")
    assert said in done.stderr
