"""Caches as users meet them: servers that count their requests, real runs, real workers, and `mcp-status cache`."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from servers import McpServer, RestServer, Scripted

ROOT = Path(__file__).resolve().parent.parent
Status = Callable[..., subprocess.CompletedProcess[Any]]


@pytest.fixture
def rest() -> Iterator[RestServer]:
    with RestServer({"/down": Scripted(500), "/other": Scripted()}) as server:
        yield server


def written(tmp_path: Path, servers: list[dict[str, Any]], **blocks: Any) -> Path:
    file = tmp_path / "fleet.yaml"
    file.write_text(yaml.safe_dump({"servers": servers, **blocks}))
    return file


def both(tmp_path: Path, rest: RestServer, **blocks: Any) -> Path:
    servers = [{"name": "up", "rest": rest.url()}, {"name": "down", "rest": rest.url("/down")}]
    return written(tmp_path, servers, **blocks)


def document(done: subprocess.CompletedProcess[Any]) -> dict[str, Any]:
    found = json.loads(done.stdout)
    Draft202012Validator(json.loads((ROOT / "docs" / "check.schema.json").read_text())).validate(found)
    return dict(found)


def asked(status: Status, query: str) -> list[dict[str, Any]]:
    return list(json.loads(status("sql", query, "--format", "json").stdout))


def test_young_results_are_taken_without_a_request_and_without_a_worker(
    status: Status, tmp_path: Path, rest: RestServer
) -> None:
    config = both(tmp_path, rest)
    assert status("check", config, "-q").returncode == 2
    done = status("check", config, "--max-age", "10m", "--format", "json", "-v")
    found = document(done)
    assert (len(rest.requests), done.returncode) == (2, 2)
    assert "started" not in done.stderr, "no worker was"
    assert [(one["server"], one["cached"], one["run_id"]) for one in found["checks"]] == [
        ("down", True, 1),
        ("up", True, 1),
    ]
    run = found["run"]
    assert (run["id"], run["servers_expected"], run["servers_checked"], run["servers_cached"]) == (2, 0, 0, 2)
    assert (run["workers"], run["counts"]["HEALTHY"], run["counts"]["UNHEALTHY"]) == (0, 1, 1)
    assert asked(status, "select server, run_id from check_history order by server") == [
        {"server": "down", "run_id": 1},
        {"server": "up", "run_id": 1},
    ]
    assert asked(status, "select * from run_cached order by server_id") == [
        {"run_id": 2, "server_id": 1, "from_run_id": 1},
        {"run_id": 2, "server_id": 2, "from_run_id": 1},
    ]
    counted = "select hits, misses, entries from cache_history where category = 'results' and run_id = 2"
    assert asked(status, counted) == [{"hits": 2, "misses": 0, "entries": 2}]


def test_cached_results_count_for_the_exit_code(status: Status, tmp_path: Path, rest: RestServer) -> None:
    config = both(tmp_path, rest)
    status("check", config, "-q")
    assert status("check", config, "-q", "--max-age", "10m").returncode == 2
    assert status("check", config, "-q", "--max-age", "10m", "--server", "up").returncode == 0


def test_every_form_of_output_marks_what_was_cached(status: Status, tmp_path: Path, rest: RestServer) -> None:
    config = both(tmp_path, rest)
    assert "cached" not in status("check", config, "--server", "up").stdout
    table = status("check", config, "--max-age", "10m")
    lines = {line.split()[0]: line for line in table.stdout.splitlines() if line.split()}
    assert "s ago" in lines["up"]
    assert "ago" not in lines["down"]
    assert "run 2: 1 HEALTHY, 1 UNHEALTHY (1 cached) in" in table.stdout
    rows = csv.DictReader(io.StringIO(status("check", config, "--max-age", "10m", "--format", "csv").stdout))
    assert [(row["server"], row["run_id"], row["cached"]) for row in rows] == [
        ("down", "2", "true"),
        ("up", "1", "true"),
    ]
    fresh = [json.loads(line) for line in status("check", config, "--format", "ndjson").stdout.splitlines()]
    assert [one["cached"] for one in fresh] == [False, False]
    history = json.loads(status("history", "up", "--format", "json").stdout)["checks"]
    assert [(one["run_id"], one["cached"]) for one in history] == [(4, False), (1, False)]


def test_changed_options_are_checked_again_and_only_those(status: Status, tmp_path: Path, rest: RestServer) -> None:
    status("check", both(tmp_path, rest), "-q")
    servers = [
        {"name": "up", "rest": rest.url()},
        {"name": "down", "rest": {"url": rest.url("/down"), "headers": {"X-New": "1"}}},
    ]
    found = document(status("check", written(tmp_path, servers), "--max-age", "10m", "--format", "json"))
    assert {one["server"]: one["cached"] for one in found["checks"]} == {"up": True, "down": False}
    assert (found["run"]["servers_expected"], found["run"]["servers_cached"]) == (1, 1)
    assert sorted(path for _, path, _, _ in rest.requests) == ["/down", "/down", "/health"]


def test_changed_credentials_are_checked_again(status: Status, rest: RestServer, tmp_path: Path) -> None:
    servers = [{"name": "up", "rest": {"url": rest.url(), "bearer": "${TOKEN}"}}]
    config = written(tmp_path, servers)
    for token, requests in (("one", 1), ("one", 1), ("two", 2)):
        assert status("check", config, "-q", "--max-age", "10m", env={"TOKEN": token}).returncode == 0
        assert len(rest.requests) == requests
    assert rest.requests[-1][2]["authorization"] == "Bearer two"


def test_older_result_is_checked_again(status: Status, tmp_path: Path, rest: RestServer) -> None:
    config = both(tmp_path, rest)
    status("check", config, "-q")
    assert document(status("check", config, "--max-age", "0s", "--format", "json"))["run"]["servers_cached"] == 0
    assert document(status("check", config, "--max-age", "1ms", "--format", "json"))["run"]["servers_cached"] == 0
    assert len(rest.requests) == 6


def test_result_is_not_taken_past_its_ttl(status: Status, tmp_path: Path, rest: RestServer) -> None:
    config = both(tmp_path, rest, run={"max_age": "10m", "caches": {"results": {"ttl": "1ms"}}})
    for requests in (2, 4):
        status("check", config, "-q")
        assert len(rest.requests) == requests


def test_max_age_of_the_configuration_acts_and_the_option_goes_first(
    status: Status, tmp_path: Path, rest: RestServer
) -> None:
    config = both(tmp_path, rest, run={"max_age": "10m"})
    for arguments, requests in ((), 2), ((), 2), (("--max-age", "0s"), 4):
        status("check", config, "-q", *arguments)
        assert len(rest.requests) == requests


def test_server_without_a_configuration_is_cached_too(status: Status, rest: RestServer) -> None:
    for _ in range(2):
        assert status("check", "--rest", rest.url(), "-q", "--max-age", "10m").returncode == 0
    assert len(rest.requests) == 1


def test_disabled_results_cache_is_said_and_nothing_is_taken(status: Status, tmp_path: Path, rest: RestServer) -> None:
    config = both(tmp_path, rest, run={"caches": {"results": {"enabled": False}}})
    status("check", config, "-q")
    done = status("check", config, "--max-age", "10m")
    assert "mcp-status: run.caches.results is not enabled" in done.stderr
    assert len(rest.requests) == 4
    assert asked(status, "select * from cache_entries where category = 'results'") == []


def test_results_above_the_size_are_evicted_and_counted(status: Status, tmp_path: Path, rest: RestServer) -> None:
    config = both(tmp_path, rest, run={"caches": {"results": {"size": 1}}})
    status("check", config, "-q")
    assert asked(status, "select evicted, entries from cache_history where category = 'results'") == [
        {"evicted": 1, "entries": 1}
    ]
    assert document(status("check", config, "--max-age", "10m", "--format", "json"))["run"]["servers_cached"] == 1


def test_unchanged_configuration_is_not_parsed_again(status: Status, tmp_path: Path, rest: RestServer) -> None:
    config = both(tmp_path, rest)
    code = "import sys; from checker.cli.root import run; run(); print(sorted({'yaml', 'pydantic'} & set(sys.modules)))"
    environ = {**os.environ, "MCP_STATUS_DB": str(tmp_path / "history.db")}

    def imported() -> str:
        command = [sys.executable, "-c", code, "check", str(config), "-q"]
        return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=True).stdout

    assert [imported(), imported(), imported()] == ["['yaml']\n", "[]\n", "[]\n"]
    config.write_text(config.read_text() + "# changed\n")
    assert [imported(), imported()] == ["['yaml']\n", "[]\n"]
    counted = "select hits, misses from cache_history where category = 'config' order by run_id"
    assert [tuple(row.values()) for row in asked(status, counted)] == [(0, 1), (1, 0), (1, 0), (0, 1), (1, 0)]
    assert len(asked(status, "select * from cache_entries where category = 'config' and used_at_ms > 0")) == 1


def test_invalid_configuration_is_refused_although_a_valid_one_is_kept(
    status: Status, tmp_path: Path, rest: RestServer
) -> None:
    config = both(tmp_path, rest)
    status("check", config, "-q")
    config.write_text(config.read_text().replace("rest:", "rset:"))
    assert status("check", config).returncode == 3
    assert status("config", "validate", config).returncode == 3


def test_disabled_config_cache_writes_nothing(status: Status, tmp_path: Path, rest: RestServer) -> None:
    config = both(tmp_path, rest, run={"caches": {"config": {"enabled": False}}})
    status("check", config, "-q")
    assert asked(status, "select * from cache_entries where category = 'config'") == []


def test_no_secret_of_a_kept_configuration_is_in_the_database(status: Status, tmp_path: Path, rest: RestServer) -> None:
    (tmp_path / "token").write_text("c4nary-file")
    servers = [
        {"name": "a", "rest": {"url": rest.url("/health?key=c4nary-query"), "bearer": "${TOKEN}"}},
        {"name": "b", "rest": {"url": rest.url(), "bearer_file": "token"}},
        {"name": "c", "rest": {"url": rest.url(), "headers": {"X-Key": "c4nary-header"}}},
    ]
    config = written(tmp_path, servers, run={"token_key": "c4nary-" + "k" * 32})
    for arguments in ((), (), ("--max-age", "10m")):
        assert status("check", config, "-q", *arguments, env={"TOKEN": "c4nary-variable"}).returncode == 0
    assert len(rest.requests) == 6
    assert len(asked(status, "select * from cache_entries where category in ('config', 'results')")) == 4
    printed = [status("cache", what, "--format", fmt) for what in ("list", "stats") for fmt in ("table", "json", "csv")]
    assert "c4nary" not in "".join(done.stdout + done.stderr for done in printed)
    for file in tmp_path.glob("history.db*"):
        assert b"c4nary" not in file.read_bytes()


def test_addresses_of_hosts_are_handed_over_to_the_next_run(status: Status, rest: RestServer) -> None:
    url = rest.url().replace("127.0.0.1", "localhost")
    for _ in range(2):
        assert status("check", "--rest", url, "-q").returncode == 0
    found = asked(status, "select hits, misses from cache_history where category = 'dns' order by run_id")
    assert [(row["misses"] > 0, row["hits"] > 0) for row in found] == [(True, False), (False, True)]
    (entry,) = json.loads(status("cache", "list", "dns", "--format", "json").stdout)["entries"]
    assert (entry["key"], entry["used_at"] is not None) == ("localhost", True)


def test_statistics_list_and_clear_in_every_form(status: Status, tmp_path: Path, rest: RestServer) -> None:
    config = both(tmp_path, rest)
    for _ in range(2):
        status("check", config, "-q", "--max-age", "10m")
    stats = json.loads(status("cache", "stats", "--format", "json").stdout)
    by_name = {row["category"]: row for row in stats["categories"]}
    assert list(by_name)[:4] == ["config", "auth_tokens", "dns", "results"]
    assert (by_name["results"]["entries"], by_name["results"]["hits"], by_name["results"]["misses"]) == (2, 2, 2)
    assert (by_name["results"]["hit_ratio"], by_name["results"]["ttl_s"]) == (0.5, 3600)
    newest = json.loads(status("cache", "stats", "--runs", "1", "--format", "json").stdout)["categories"]
    assert [row["hit_ratio"] for row in newest if row["category"] == "results"] == [1.0]
    shown = status("cache", "stats").stdout
    assert "50%" in shown
    assert len(status("cache", "stats", "--format", "ndjson").stdout.splitlines()) == 4
    listed = list(csv.DictReader(io.StringIO(status("cache", "list", "--format", "csv").stdout)))
    assert [(row["category"], row["value"]) for row in listed] == [("config", ""), ("results", "1"), ("results", "1")]
    assert "(encrypted)" in status("cache", "list", "config").stdout
    limited = status("cache", "list", "--limit", "1", "--format", "ndjson")
    assert (len(limited.stdout.splitlines()), limited.stderr) == (
        1,
        "only the first 1 entries; raise --limit for more\n",
    )
    assert status("cache", "list", "--expired").stdout == "no entries\n"
    cleared = status("cache", "clear", "results", "--yes", "--format", "json")
    assert json.loads(cleared.stdout) == {"removed": {"results": 2}}
    assert len(asked(status, "select * from check_history")) == 2
    status("check", config, "-q", "--max-age", "10m")
    assert len(rest.requests) == 4, "what was cleared is checked again"
    assert "config" in status("cache", "clear", "--yes").stdout
    assert status("cache", "clear", "--yes").stdout == "nothing to remove\n"


def test_what_endpoints_spoke_is_listed_as_further_categories(status: Status) -> None:
    with McpServer() as server:
        assert status("check", "--mcp", server.url(), "-q").returncode == 0
    stats = json.loads(status("cache", "stats", "--format", "json").stdout)["categories"]
    of_endpoints = ["mcp_contract_digest", "mcp_contract_source", "mcp_era", "mcp_transport"]
    assert [row["category"] for row in stats[4:]] == of_endpoints
    (era,) = json.loads(status("cache", "list", "mcp_era", "--format", "json").stdout)["entries"]
    assert era["value"] == "session"


def test_clear_asks_on_a_terminal_and_nowhere_else(status: Status, tmp_path: Path, rest: RestServer) -> None:
    status("check", "--rest", rest.url(), "-q")
    refused = status("cache", "clear")
    assert (refused.returncode, refused.stdout) == (3, "")
    assert "--yes" in refused.stderr
    command = [sys.executable, "-m", "checker", "cache", "clear", "results", "--db", str(tmp_path / "history.db")]
    for answer, code, left in ((b"n\n", 130, 1), (b"y\n", 0, 0)):
        parent, child = pty.openpty()
        process = subprocess.Popen(command, cwd=ROOT, stdin=child, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        os.write(parent, answer)
        process.communicate(timeout=60)
        os.close(child)
        os.close(parent)
        assert process.returncode == code
        assert len(asked(status, "select * from cache_entries where category = 'results'")) == left


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["stats"], "no such database"),
        (["list"], "no such database"),
        (["clear", "--yes"], "no such database"),
    ],
)
def test_missing_database_is_one_clear_message(status: Status, arguments: list[str], message: str) -> None:
    done = status("cache", *arguments)
    assert (done.returncode, done.stdout) == (3, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [["list", "nope"], ["clear", "nope", "--yes"]])
def test_unknown_category_is_told_with_those_there_are(status: Status, rest: RestServer, command: list[str]) -> None:
    status("check", "--rest", rest.url(), "-q")
    done = status("cache", *command)
    assert (done.returncode, done.stdout) == (3, "")
    assert 'no cache category "nope"; there are: config, auth_tokens, dns, results' in done.stderr


def test_two_runs_with_max_age_at_once_do_not_disturb_each_other(
    status: Status, tmp_path: Path, rest: RestServer
) -> None:
    config = both(tmp_path, rest)
    environ = {**os.environ, "MCP_STATUS_DB": str(tmp_path / "history.db")}
    command = [sys.executable, "-m", "checker", "check", str(config), "-q", "--max-age", "10m"]
    processes = [subprocess.Popen(command, cwd=ROOT, env=environ) for _ in range(3)]
    until = time.monotonic() + 100
    assert [process.wait(until - time.monotonic()) for process in processes] == [2, 2, 2]
    ends = asked(status, "select state, servers_expected + servers_cached as servers from run_history")
    assert ends == [{"state": "finished", "servers": 2}] * 3
