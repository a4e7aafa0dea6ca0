"""Questions in SQL: answered rightly by name, within limits that hold, with messages that say the remedy."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import batch, check, run_info, server
from checker.errors import ConfigError, QueryError, StorageError, UsageError
from checker.named_query import Query, bound, parameters, parse_value
from checker.settings.named_queries import saved_queries
from histories import RUNS, told_history
from reports.rows_as_text import distinct, lines, table_rows
from storage.named_queries import QUESTIONS
from storage.sql import MOST_MEMORY_BYTES, ask
from storage.sqlite_driver import driver
from storage.store import open_store
from storage.views import KEYS, VIEWS, described

ROOT = Path(__file__).resolve().parent.parent
Status = Callable[..., subprocess.CompletedProcess[str]]
ENDLESS = "with recursive n(x) as (select 1 union all select x + 1 from n) "


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("told") / "history.db"
    told_history(path)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where `status` looks, too."""
    path = tmp_path / "history.db"
    with open_store(path) as store:
        store.write(store.begin_run(run_info(), [server()]), batch(check()))
    return path


def rows(path: Path, query: str, timeout_s: float = 20.0, **params: Any) -> list[tuple[Any, ...]]:
    with ask(path, query, timeout_s, params) as answer:
        return list(answer.rows)


def asked(path: Path, name: str, **given: Any) -> list[dict[str, Any]]:
    query = QUESTIONS[name]
    with ask(path, query.sql, 20.0, bound(query, given)) as answer:
        return [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]


HALF = RUNS // 2
ANSWERS: dict[str, list[dict[str, Any]]] = {
    "failing": [  # old was, when it was checked last
        {"server": "orders", "status": "UNHEALTHY", "reason": "http_status"},
        {"server": "vault", "status": "DEGRADED", "reason": "auth_required"},
    ],
    "failures": [
        {"server": "vault", "reason": "auth_required", "times": RUNS},
        {"server": "orders", "reason": "http_status", "times": HALF},
    ],
    "remarks": [{"server": "files", "kind": "mcp", "remark": "stdout_lines", "times": 2, "detail": "printed a banner"}],
    "availability": [
        {"server": "old", "available_percent": 0.0, "down_s": 3600.0, "counted": 1},
        {"server": "orders", "available_percent": pytest.approx(50, abs=1), "counted": RUNS},
        {"server": "files", "available_percent": 100.0, "counted": RUNS},
        {"server": "search", "available_percent": 100.0, "counted": RUNS - 1, "suspect": 1},
        {"server": "vault", "available_percent": 100.0, "counted": RUNS},
    ],
    "slowest": [{"server": "search", "kind": "mcp", "duration_ms": 100.0}] * 20,
    "stages": [
        {"kind": "mcp", "probes": 2 * RUNS - 1, "average_ms": 50.692, "list_percent": None},  # one of them is suspect
        {"kind": "rest", "probes": RUNS - 1 + HALF},  # vault refuses
    ],
    "medians": [
        {"server": "search", "kind": "mcp", "median_ms": 100.0},
        {"server": "search", "kind": "rest", "median_ms": 41.0, "probes": RUNS - 1},
        {"server": "files", "median_ms": 2.0},
        {"server": "orders", "median_ms": 2.0, "probes": HALF},
    ],
    "percentiles": [
        {"server": "search", "kind": "mcp", "p95_ms": 100.0},
        {"server": "search", "kind": "rest", "p50_ms": 41.0, "p95_ms": 77.0, "p99_ms": None, "longest_ms": 80.0},
        {"server": "files", "p95_ms": 2.0},
        {"server": "orders", "probes": HALF, "p50_ms": 2.0, "p95_ms": None},
    ],
    "reasons": [
        {"server_group": "shop", "reason": "http_status", "times": HALF, "servers": 1},
        {"server_group": "tools", "reason": "auth_required", "times": RUNS, "servers": 1},
    ],
    "versions": [
        {"protocol_version": "2025-11-25", "mcp_server_name": "demo", "servers": 1},
        {"protocol_version": "2025-11-25", "mcp_server_name": "files", "servers": 1},
    ],
    "context_cost": [
        {"server": "search", "tool_count": 10, "tools_tokens": 300, "tokens_per_tool": 30, "share_percent": 75.0},
        {"server": "files", "tool_count": 1, "tools_tokens": 100, "tokens_per_tool": 100, "share_percent": 25.0},
    ],
    "contract_changes": [{"server": "files", "version": 2, "grade": "breaking", "item": "tool fetch"}],
    "certificates": [{"server": "vault", "days_left": 10.0}],
    "credentials": [{"server": "vault", "reason": "auth_required", "kind": "rest"}],
    "retries": [{"server": "search", "kind": "rest", "retries": 2, "hidden_reasons": "connect_refused"}],
    "suspect": [{"run_id": 8, "server": "search", "longest_lag_ms": 400.0}],
    "runs": [{"run_id": RUNS + 1, "state": "interrupted", "duration_ms": 9000, "before_ms": 1000.0}],
    "connections": [{"kind": "rest", "created": RUNS, "reused": 3 * RUNS, "reuse_ratio": 0.75}],
    "caches": [{"run_id": RUNS + 1, "category": "dns", "hit_ratio": 0.9}],
    "flapping": [{"server": "orders", "changes": RUNS - 1}],
    "first_seen": [
        {"reason": "auth_required", "times": RUNS},
        {"reason": "http_status", "times": HALF},
        {"reason": "dns", "times": 1, "servers": 1},
    ],
    "unchecked": [{"server": "old", "server_group": "attic", "hours_ago": 960.0}],
    "sessions": [{"server": "files", "sessions_opened": 1, "sessions_closed": 0}],
    "benchmarks": [
        {"benchmark_id": 2, "benchmark": "nightly", "state": "finished", "offered_per_s": 100.0, "thresholds": 1},
        {"benchmark_id": 1, "failed_ratio": 0.0, "ok_per_s": 100.0, "thresholds_broken": 0, "client_bound": ""},
    ],
    "benchmark_series": [
        {"server": "search", "benchmark_id": 2},
        {"server": "search", "benchmark_id": 1, "before_ms": None, "ok": 200},
    ],
    "benchmark_failures": [
        {"server": "search", "stage_name": "warm_up 1", "reason": "connect_refused"},
        {"server": "search", "stage_name": "hold 1", "reason": "connect_refused"},
    ],
    "benchmark_client": [
        {"benchmark_id": 2, "worker": 0, "most_cpu_ratio": 0.25, "longest_lag_p99_ms": 0.3},
        {"benchmark_id": 1, "worker": 0},
    ],
}
"""Question -> the rows of its answer, each with what is said of it."""


def test_every_question_has_a_known_answer() -> None:
    assert list(ANSWERS) == list(QUESTIONS)
    assert len(QUESTIONS) >= 20


@pytest.mark.parametrize("name", QUESTIONS)
def test_question_is_answered_rightly(told: Path, name: str) -> None:
    found = asked(told, name)
    assert len(found) == len(ANSWERS[name]), found
    for row, expected in zip(found, ANSWERS[name], strict=True):
        assert {column: row[column] for column in expected} == expected


@pytest.mark.parametrize("name", QUESTIONS)
def test_question_reads_views_only(name: str) -> None:
    read = set(re.findall(r"\b(?:from|join) (\w+)", QUESTIONS[name].sql))
    its_own = set(re.findall(r"with (\w+) as", QUESTIONS[name].sql))
    assert read - its_own <= {view.name for view in VIEWS}
    assert read - its_own


def test_load_tests_of_a_name_are_laid_side_by_side(told: Path) -> None:
    newer, older = asked(told, "benchmark_series")
    assert newer["before_ms"] == older["response_p95_ms"] == pytest.approx(7.5, rel=0.1)
    assert newer["change_ratio"] == pytest.approx(1.0, abs=0.2)


def test_parameters_of_a_question_widen_it(told: Path) -> None:
    assert {row["server"] for row in asked(told, "failures", days=60)} == {"vault", "orders", "old"}
    assert len(asked(told, "slowest", n=3)) == 3
    assert asked(told, "flapping", changes=RUNS) == []


def test_query_is_ended_at_its_time_limit_wherever_it_is(path: Path) -> None:
    bombs = (
        f"{ENDLESS} select count(*) from n",
        f"{ENDLESS} select x from n",
        f"{ENDLESS} select x from n order by -x",
        # one step of SQLite that takes hours: nothing inside it can be interrupted
        "with t(x) as (select hex(zeroblob(2000000))) select instr(x || x || x, x || '1') from t",
    )
    for query in bombs:
        began = time.monotonic()
        with pytest.raises(QueryError, match=r"took longer than 0\.3 s; narrow it, or raise --timeout"):
            rows(path, query, 0.3)
        assert time.monotonic() - began < 20, query  # each would take hours


def test_rows_are_read_only_as_they_are_asked_for(path: Path) -> None:
    with ask(path, f"{ENDLESS} select x from n", 20.0) as answer:
        assert [next(answer.rows) for _ in range(3)] == [(1,), (2,), (3,)]


def test_file_is_let_go_of_when_the_answer_is_done_with(path: Path) -> None:
    def opened() -> int:
        return sum(os.readlink(f"/proc/self/fd/{fd}").startswith(str(path)) for fd in _descriptors())

    with ask(path, f"{ENDLESS} select x from n", 20.0) as answer:
        next(answer.rows)
        assert opened()
    assert not opened()


def _descriptors() -> list[str]:
    return [fd for fd in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{fd}")]


@pytest.mark.parametrize(
    "query",
    [
        "select hex(zeroblob(1000000000))",
        "select zeroblob(67000000), zeroblob(200000)",
        "select replace(hex(zeroblob(20000)), '0', hex(zeroblob(20000)))",
        "with recursive n(x) as (select 'ab' union all select x || x from n) select max(length(x)) from n",
        "select " + ", ".join(f"randomblob(30000000 + {number})" for number in range(20)),
        f"{ENDLESS} select group_concat(x || zeroblob(100000)) from (select x from n limit 4000)",
    ],
)
def test_large_values_are_refused_before_they_take_the_memory(path: Path, query: str) -> None:
    """In a process with an address space that would not hold them."""
    code = (
        "import sys; from pathlib import Path; from storage.sql import ask\n"
        "with ask(Path(sys.argv[1]), sys.argv[2], 60.0) as answer: list(answer.rows)"
    )
    most = MOST_MEMORY_BYTES * 8

    done = subprocess.run(
        [sys.executable, "-c", code, str(path), query],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (most, most)),
    )
    assert "QueryError: the query makes a value or a row that is too large" in done.stderr


def test_explaining_is_reading(path: Path) -> None:
    assert rows(path, "explain query plan select * from latest_status")
    assert rows(path, "explain select 1")
    assert ("server", "TEXT") in [row[1:3] for row in rows(path, "pragma table_xinfo(check_history)")]
    assert rows(path, "select name from pragma_table_list where type = 'view'")


@pytest.mark.parametrize(
    ("query", "what"),
    [
        ("attach ':memory:' as x", "attach"),
        ("pragma query_only = off", "pragma query_only"),
        ("pragma writable_schema = on", "pragma writable_schema"),
        ("pragma user_version = 7", "pragma user_version"),
        ("pragma journal_mode = delete", "pragma journal_mode"),
        ("pragma trusted_schema = on", "pragma trusted_schema"),
        ("select * from pragma_user_version(7)", None),
        ("select load_extension('x')", "load_extension"),
        ("explain update servers set name = 'x'", None),
        ("create temp table t (x)", None),
        ("with x as (select 1) insert into servers (name) select * from x", None),
        ("savepoint x", None),
        ("reindex", None),
        ("analyze", None),
    ],
)
def test_what_would_do_more_than_read_is_refused(path: Path, query: str, what: str | None) -> None:
    before = path.read_bytes()
    with pytest.raises(QueryError) as refused:
        rows(path, query)
    assert what is None or str(refused.value).endswith(f"this statement would do more ({what})")
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("select duration from check_history", "no such column: duration; did you mean duration_ms of check_history?"),
        (
            "select h.stauts from check_history h",
            "no such column: h.stauts; did you mean status of check_history?",
        ),
        ("select score from pool_history", "no such column: score; score is a column of latest_status, check_history"),
        ("select zzz from run_history", "no such column: zzz; `mcp-status sql --schema run_history` lists the columns"),
        ("select * from chek_history", "no such table: chek_history; did you mean check_history? The views are"),
        ("select nosuch(1)", "no such function: nosuch; "),
        ("select (1", "incomplete input|ends too early"),
        ("selec 1", 'near "selec": syntax error; '),
        ("select server from check_history a, check_history b", "ambiguous column name: server; several"),
        # words of SQLite's own messages in what the user wrote
        ("select locked, malformed from check_history", "no such column: locked"),
        ("select interrupted from check_history", "no such column: interrupted"),
        ("select [disk is full] from check_history", "no such column: disk is full"),
        ("select * from json_each('x')", "malformed JSON"),
        ("-- nothing", "the query is empty"),
        ("select 1; select 2", "one statement at a time"),
        ("select '\0'", "the query has a NUL character in it; remove it"),
        ("select '\udcff'", "the query has bytes in it that are not UTF-8; write it in UTF-8"),
    ],
)
def test_error_in_a_query_says_the_remedy(path: Path, query: str, message: str) -> None:
    with pytest.raises(QueryError, match=message.replace("(", r"\(").replace("?", r"\?")):
        rows(path, query)


def test_damaged_file_is_no_fault_of_the_query(path: Path) -> None:
    with closing(driver().connect(path)) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
    content = bytearray(path.read_bytes())
    content[4096 * 2 :] = b"\xff" * (len(content) - 4096 * 2)
    path.write_bytes(bytes(content))
    with pytest.raises(StorageError, match="not a SQLite database, or damaged"):
        rows(path, "select * from check_history")


def test_parameters_are_bound_never_pasted(path: Path) -> None:
    nasty = "x' or 1 = 1 --"
    assert rows(path, "select :a, count(*) from check_history where server = :a", a=nasty) == [(nasty, 0)]
    assert rows(path, "select count(*) from check_history where server = :s", s="search") == [(1,)]


def test_parameters_in_text_names_and_comments_are_none() -> None:
    sql = """select ':a', "b:c", [d:e], `f:g`, '$.name', 'it''s :x' -- :h
             /* :i ? */ from t where x = :j and y = @k or z = $l or :j"""
    assert parameters(sql) == ("j", "k", "l")
    assert parameters("select ? + ?2") == ("",)
    assert parameters("select ':unclosed") == ("unclosed",), "SQLite refuses it anyway"


@given(st.text(max_size=30))
def test_any_text_can_be_bound(text: str) -> None:
    assert parse_value(f"'{text}'") == text
    value = parse_value(text)
    assert value == text or (isinstance(value, int | float) and float(text) == value) or text[:1] == text[-1:] == "'"


@pytest.mark.parametrize(
    ("text", "value"),
    [("7", 7), ("-7", -7), ("0.5", 0.5), ("1e3", 1000.0), ("'7'", "7"), ("1.2.3", "1.2.3"), ("", ""), ("nan", "nan")],
)
def test_value_is_a_number_where_it_is_written_like_one(text: str, value: Any) -> None:
    found = parse_value(text)
    assert (found, type(found)) == (value, type(value))
    assert isinstance(parse_value("9" * 19), str), "SQLite has no such number"


def test_value_that_is_missing_or_unknown_is_told() -> None:
    query = Query(sql="select :a, :b", params={"a": 1})
    assert bound(query, {"b": 2}) == {"a": 1, "b": 2}
    assert bound(query, {"a": 0, "b": 2}) == {"a": 0, "b": 2}
    with pytest.raises(UsageError, match="parameter :b has no value; add --param b=VALUE"):
        bound(query, {})
    with pytest.raises(UsageError, match="no parameter :c; it has :a, :b"):
        bound(query, {"b": 2, "c": 3})
    with pytest.raises(UsageError, match=r"write :name in place of \?"):
        bound(Query(sql="select ?"), {})


def test_json_is_the_same_whether_streamed_or_whole() -> None:
    from reports import rows_as_text

    for count in (0, 1, 3):
        found = [(number, "a\nb", None, b"\xff", 0.5) for number in range(count)]
        records = [{"n": n, "t": t, "x": x, "b": "ff", "f": f} for n, t, x, _, f in found]
        assert "".join(lines(("n", "t", "x", "b", "f"), iter(found), "json")) == rows_as_text.json(records)


def test_table_is_short_where_nothing_is_said(status: Status, path: Path) -> None:
    done = status("sql", f"{ENDLESS} select x from n")
    assert done.stdout.endswith("\n1000 rows\n")
    assert done.stderr == "only the first 1000 rows; raise --limit for more\n"
    assert len(status("sql", f"{ENDLESS} select x from n", "--format", "ndjson").stdout.splitlines()) == 10_000


def test_columns_of_one_name_are_all_in_json() -> None:
    assert distinct(["a", "b", "a", "a_2", "a"]) == ["a", "b", "a_2", "a_2_2", "a_3"]
    (line,) = lines(("a", "a"), [(1, 2)], "ndjson")
    assert json.loads(line) == {"a": 1, "a_2": 2}


def test_too_much_for_a_table_is_refused_while_it_is_read() -> None:
    def endless() -> Any:
        while True:
            yield ("x" * 1_000_000,)

    with pytest.raises(QueryError, match=r"too much for a table; .* --format ndjson"):
        table_rows(endless())


def test_rows_are_printed_as_they_come(path: Path) -> None:
    query = f"{ENDLESS} select x, 'some text to fill the buffer' from n"
    command = [sys.executable, "-m", "checker", "sql", query, "--db", str(path), "--limit", "100000000"]
    for fmt in ("ndjson", "csv", "json"):
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen([*command, "--format", fmt], cwd=ROOT, **pipes) as process:
            assert process.stdout is not None
            assert process.stdout.readline()
            process.stdout.close()  # as `| head` does
            assert process.wait(20) != 0
            assert process.stderr is not None
            assert process.stderr.read() == b""


@pytest.mark.parametrize(
    "query",
    [f"{ENDLESS} select count(*) from n", "select instr(x || x || x, x || '1') from (select hex(zeroblob(2000000)) x)"],
)
def test_interrupt_ends_a_query_at_once(path: Path, query: str) -> None:
    command = [sys.executable, "-m", "checker", "sql", query, "--db", str(path)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        _wait_until_busy(process.pid)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert time.monotonic() - began < 15


def _wait_until_busy(pid: int, most_s: float = 20.0) -> None:
    """Until the process has a second thread: the one that the statement runs in."""
    until = time.monotonic() + most_s
    while len(os.listdir(f"/proc/{pid}/task")) < 2:
        assert time.monotonic() < until
        time.sleep(0.01)


def test_printing_is_within_the_time_limit(status: Status, path: Path) -> None:
    wide = ", ".join(f"x as c{number}" for number in range(60))
    query = f"{ENDLESS} select {wide} from n"
    began = time.monotonic()
    done = status("sql", query, "--limit", "100000", "--timeout", "1s")
    assert (done.returncode, done.stdout) == (3, "")
    assert "took longer than 1 s" in done.stderr
    assert time.monotonic() - began < 15


SAVED = """\
servers: [{name: a, rest: {url: "http://h/", bearer: "${NOT_SET}"}}]
queries:
  one: select 1 as one
  named: {sql: "select :x as x, server from check_history", description: What?, params: {x: 5}}
  wrong: select missing from check_history
  failing: select 'mine' as own
environments:
  production: {queries: {one: select 2 as one}}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "fleet.yaml"
    file.write_text(SAVED)
    return file


def test_saved_query_is_asked_by_name(status: Status, path: Path, config: Path) -> None:
    def answer(*arguments: str, **env: str) -> Any:
        return json.loads(status("sql", *arguments, "--format", "json", env=env).stdout)

    assert answer("@named", "--config", str(config)) == [{"x": 5, "server": "search"}]
    assert answer("@one", "-e", "production", MCP_STATUS_CONFIG=str(config)) == [{"one": 2}]
    assert answer("@named", "--param", "x='6'", MCP_STATUS_CONFIG=str(config)) == [{"x": "6", "server": "search"}]
    assert answer("@failing", MCP_STATUS_CONFIG=str(config)) == [{"own": "mine"}], "before the built-in one"
    assert answer("@failing") == []


def test_mistake_in_a_saved_query_names_file_and_key(status: Status, path: Path, config: Path) -> None:
    wrong = status("sql", "@wrong", "--config", config)
    assert (wrong.returncode, wrong.stdout) == (3, "")
    assert wrong.stderr.startswith(f"mcp-status: {config}: queries.wrong: no such column: missing; ")
    unknown = status("sql", "@named", "--config", config, "--param", "y=1")
    assert f"{config}: queries.named: the query has no parameter :y; it has :x" in unknown.stderr


def test_only_the_queries_of_a_configuration_are_looked_at(config: Path) -> None:
    assert list(saved_queries(config, None, {})) == ["one", "named", "wrong", "failing"]
    config.write_text("queries: {a b: select 1, c: {sql: [1]}}")
    with pytest.raises(ConfigError) as refused:
        saved_queries(config, None, {})
    assert str(refused.value).splitlines() == [
        f"{config}:1: queries.a b: not a name to call it by, as in @slowest; use letters, digits, _ and -",
        f"{config}:1: queries.c.sql: this list is not valid: write text; put quotes around it",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["@failin"], 'no query "@failin"; did you mean @failing? `mcp-status sql --list` lists them; --config FILE'),
        (["@one", "--config", "none.yaml"], "none.yaml: No such file or directory; name a readable YAML file"),
        (["select :x"], "the query's parameter :x has no value; add --param x=VALUE"),
        (["select 1", "--param", "x"], "--param x: write NAME=VALUE for the :NAME in the query"),
        (["@slowest", "--param", "m=1"], "@slowest: the query has no parameter :m; it has :days, :n"),
        (["--schema", "nothing"], 'no view "nothing"; the views are latest_status'),
    ],
)
def test_mistake_is_told_with_its_remedy(status: Status, path: Path, arguments: list[str], message: str) -> None:
    done = status("sql", *arguments)
    assert (done.returncode, done.stdout) == (3, "")
    assert message in done.stderr


def test_list_has_built_in_and_saved_queries(status: Status, config: Path) -> None:
    listed = json.loads(status("sql", "--list", "--config", config, "--format", "json").stdout)
    named = {one["name"]: one for one in listed}
    assert set(named) == {*QUESTIONS, "one", "named", "wrong"}
    assert (named["failing"]["from"], named["failures"]["from"]) == (str(config), "built-in")
    assert (named["named"]["description"], named["named"]["params"]) == ("What?", {"x": 5})
    shown = status("sql", "--list").stdout
    assert "@slowest" in shown
    assert "days=1 n=20" in shown
    assert status("sql", "--list", "--format", "csv").stdout.splitlines()[0] == "name,description,params,from"


def test_schema_says_what_a_row_is_and_what_to_join_on(status: Status) -> None:
    shown = status("sql", "--schema", "probe_history").stdout
    assert shown.startswith("probe_history: a row is one probe\n")
    assert "milliseconds" in shown
    assert "Keys to join on:\n  server: " in shown
    document = json.loads(status("sql", "--schema", "--format", "json").stdout)
    assert [view["view"] for view in document["views"]] == [view.name for view in VIEWS]
    assert status("sql", "--schema", "availability", "--format", "csv").stdout.startswith("view,column,unit,desc")


def test_every_column_has_a_description_and_units_follow_its_name() -> None:
    columns = [column for view in described() for column in view["columns"]]
    assert all(column["description"] for column in columns)
    units = {column["name"]: column["unit"] for column in columns}
    assert units["duration_ms"] == "milliseconds"
    assert units["started_at"] == units["since"] == "ISO 8601 UTC"
    assert units["status"] == ""


def test_keys_join_the_views_that_share_them(told: Path) -> None:
    views = {view["view"]: view for view in described()}
    assert set(views["check_history"]["keys"]) == {"server", "run_id"}
    for view in views.values():
        for key, others in view["keys"].items():
            for other in others:
                assert key in KEYS
                rows(told, f"select 1 from {view['view']} a join {other} b on a.{key} = b.{key} limit 1")
