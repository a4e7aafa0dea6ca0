"""Generated configurations, documents of other programs, and statements: the right result or one clear error."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from checker.settings.schema import json_schema
from documents_read import NAMES, configuration, foreign, question

BOUNDED = settings(max_examples=120, deadline=None)

# What a text may hold that means something to somebody who reads it later
_HOSTILE = st.sampled_from(
    [
        *("${TOKEN}", "${env:TOKEN}", "${TOKEN:-x}", "$TOKEN", "${input:token}", "${", "$$", "$${TOKEN}", "{TOKEN}"),
        *("\x1b[2J", "\x00", "\r\n", "\u202e", "\ufeff", "\u2028", "[red]x[/]", "=1+1", "\U0001f600", "a" * 5000),
        *("http://h/", "https://u:p@h/?token=x#y", "file:///etc/passwd", "unix:///x", "http://[", "http://h:99999/"),
        *("${TOKEN}://h/", "touch", "../../x", "~root/x", "/dev/stdin", "stdio", "sse", "oauth", "&a", "*a", "!!int"),
    ]
)
TEXT = _HOSTILE | st.text(max_size=12) | st.builds("".join, st.lists(_HOSTILE, max_size=3))
SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
VALUE = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=6
)


def _mapping(keys: list[str], usual: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Some of the keys: mostly with what belongs there, else with anything."""
    return st.fixed_dictionaries(
        {}, optional={key: usual[key] | usual[key] | VALUE if key in usual else VALUE for key in keys}
    )


TEXTS = st.dictionaries(st.sampled_from(NAMES) | TEXT, TEXT, max_size=3)
BLOCK = _mapping(
    [
        *("type", "transport", "command", "args", "env", "cwd", "url", "httpUrl", "serverUrl", "headers", "auth"),
        *("timeout", "disabled", "enabled", "envFile", "headersHelper", "oauth", "tools", "http_headers"),
        *("bearer_token_env_var", "env_http_headers", "env_vars", "bearer_file", "environment"),
    ],
    {
        **dict.fromkeys(("type", "transport"), st.sampled_from(["stdio", "http", "sse", "local", "remote"])),
        **dict.fromkeys(("command", "cwd", "auth"), TEXT),
        **dict.fromkeys(("url", "httpUrl", "serverUrl"), TEXT.map(lambda text: f"http://h/{text}") | TEXT),
        "args": st.lists(TEXT, max_size=4),
        **dict.fromkeys(("env", "headers", "http_headers", "environment", "env_http_headers"), TEXTS),
        "env_vars": st.lists(st.sampled_from(NAMES), max_size=2),
        "timeout": st.integers(0, 10**6),
    },
)
INPUT = _mapping(
    [
        *("name", "value", "default", "isRequired", "is_required", "isSecret", "variables", "type", "valueHint"),
        *("format", "choices", "placeholder"),
    ],
    {"name": st.sampled_from(NAMES) | TEXT, "value": TEXT, "isRequired": st.booleans(), "isSecret": st.booleans()},
)
REMOTE = _mapping(
    ["type", "url", "headers", "variables", "transportType"],
    {
        "type": st.sampled_from(["sse", "streamable-http"]),
        "url": TEXT.map(lambda text: f"http://h/{text}"),
        "headers": st.lists(INPUT, max_size=2),
        "variables": st.dictionaries(st.sampled_from(NAMES), INPUT, max_size=2),
    },
)
PACKAGE = _mapping(
    [
        *("registryType", "registryBaseUrl", "identifier", "version", "transport", "runtimeHint"),
        *("runtimeArguments", "packageArguments", "environmentVariables"),
    ],
    {
        "registryType": st.sampled_from(["npm", "pypi", "oci", "nuget", "docker"]),
        "identifier": st.sampled_from(["a", "@a/b", "-e", "a b", "a\n", "../x"]),
        "version": st.sampled_from(["1.0.0", "latest", "-x"]),
        **dict.fromkeys(("runtimeArguments", "packageArguments", "environmentVariables"), st.lists(INPUT, max_size=2)),
    },
)
SERVER_JSON = _mapping(
    ["name", "version", "status", "remotes", "packages", "_meta"],
    {"name": TEXT, "remotes": st.lists(REMOTE, max_size=2), "packages": st.lists(PACKAGE, max_size=2)},
)
SERVERS = st.dictionaries(TEXT, BLOCK | VALUE, max_size=4)
DOCUMENT = st.one_of(
    st.builds(lambda key, servers: {key: servers}, st.sampled_from(["mcpServers", "servers", "mcp_servers"]), SERVERS),
    st.builds(lambda servers, inputs: {"servers": servers, "inputs": inputs}, SERVERS, st.lists(VALUE, max_size=2)),
    st.builds(lambda servers: {"mcp": {"servers": servers}}, SERVERS),
    st.builds(lambda servers: {"mcp": servers, "context_servers": servers}, SERVERS),
    SERVER_JSON,
    st.builds(lambda server: {"server": server}, SERVER_JSON),
    st.builds(
        lambda servers, metadata: {"servers": servers, "metadata": metadata},
        st.lists(SERVER_JSON.map(lambda one: {"server": one}) | SERVER_JSON | VALUE, max_size=3),
        VALUE | st.just({"nextCursor": "x"}),
    ),
    VALUE,
)


@given(DOCUMENT, st.sampled_from(["mcp.json", "settings.json", "server.json"]))
@BOUNDED
def test_document_of_any_client_or_registry_has_no_power(document: Any, name: str) -> None:
    foreign(json.dumps(document).encode(), name)


@given(st.dictionaries(st.from_regex("[a-z]{1,8}", fullmatch=True), BLOCK, max_size=3))
@BOUNDED
def test_toml_of_codex_has_no_power(servers: dict[str, Any]) -> None:
    lines = []
    for name, block in servers.items():
        lines.append(f"[mcp_servers.{name}]")
        # JSON is TOML as far as texts, numbers, lists of one kind and inline tables go; the rest is not valid
        lines += [f"{key} = {_toml(value)}" for key, value in block.items() if value is not None]
    foreign("\n".join(lines).encode(), "config.toml")


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass")))
@BOUNDED
@example(b'{"mcpServers": ' + b'{"a":' * 200_000)
@example(b'{"mcpServers": {"a": {"url": "http://h/", "url": "http://i/"}}}')
@example(b"\xff\xfe{\x00}\x00")
def test_any_bytes_have_no_power(data: bytes) -> None:
    foreign(data)


# Configurations

_PROPERTIES = sorted(set(re.findall(r'"([a-z_]{2,24})": \{', json.dumps(json_schema()))))
KEY = st.sampled_from(["servers", "name", "mcp", "rest", "url", "defaults", "environments", "run"]) | st.sampled_from(
    _PROPERTIES
)
CONFIG_VALUE = st.recursive(
    SCALAR | st.sampled_from(["1s", "5m", "http://h/", "GET", 200, "${TOKEN:-http://h/}"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEY | KEY | TEXT, inner, max_size=4),
    max_leaves=12,
)
ENTRY = st.fixed_dictionaries(
    {"name": st.text(min_size=1, max_size=5) | TEXT},
    optional={"mcp": CONFIG_VALUE, "rest": CONFIG_VALUE, "tags": CONFIG_VALUE, "weights": CONFIG_VALUE},
)
CONFIG = st.fixed_dictionaries(
    {"servers": st.lists(ENTRY, max_size=3) | CONFIG_VALUE},
    optional=dict.fromkeys(("defaults", "environments", "run", "history", "queries", "benchmarking"), CONFIG_VALUE),
)


@given(CONFIG)
@BOUNDED
def test_any_configuration_is_loaded_or_refused(values: Any) -> None:
    configuration(yaml.safe_dump(values, allow_unicode=True).encode("utf-8", "replace"))


_YAML = st.sampled_from(
    [
        *(
            "servers:\n",
            "- name: a\n",
            "  rest: http://h/\n",
            "  mcp: {url: http://h/}\n",
            "&a ",
            "*a",
            "<<: *a\n",
            "? ",
        ),
        *(
            "!!python/object/apply:os.system [x]",
            "!!binary aGk=",
            "!!set {a, b}",
            "!x ",
            "|\n",
            ">-\n",
            "\t",
            "%YAML 1.3\n",
        ),
        *("---\n", "...\n", "{", "}", "[", "]", ": ", "- ", "'", '"', "\\x", "#", "0x1", "1e999", ".nan", "2026-01-01"),
        *("~", "=", "12:30:45", "\u2028", "\x85", "\x00", "${TOKEN}", "a: &b [*b]\n", "on", "0o7", "1_000", "\n", "  "),
    ]
)


@given(st.lists(_YAML, max_size=25).map("".join) | st.text(max_size=200))
@BOUNDED
@example(
    "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(f"{n}: &{n} [{','.join(['*' + p] * 9)}]\n" for p, n in zip("abcdefgh", "bcdefghi", strict=True))
)
@example("[" * 100_000)
@example("a: " + "{b: " * 5000)
@example("&a [*a]")
def test_any_yaml_is_loaded_or_refused(text: str) -> None:
    configuration(text.encode("utf-8", "replace"))


# Statements

_NAMES = st.sampled_from(["check_history", "latest_status", "servers", "sqlite_master", "x", "json_each('[1]')", "1"])
_EXPRESSION = st.recursive(
    st.sampled_from(
        ["1", "'x'", "null", "server", "*", "x'00'", ":a", "?", "randomblob(9)", "1e999", "sqlite_version()"]
    ),
    lambda inner: (
        st.builds(lambda one, other, by: f"({one} {by} {other})", inner, inner, st.sampled_from(["+", "||", "in"]))
        | st.builds(
            lambda name, one: f"{name}({one})", st.sampled_from(["count", "hex", "load_extension", "writefile"]), inner
        )
        | st.builds(lambda one, table: f"(select {one} from {table})", inner, _NAMES)
    ),
    max_leaves=4,
)
_SELECT = st.builds(
    lambda one, table, rest: f"select {one} from {table} {rest}",
    _EXPRESSION,
    _NAMES,
    st.sampled_from(["", "limit 5", "where 1", "order by 1", "group by 1"]),
)
_WRITES = st.builds(
    lambda verb, select: verb.replace("SELECT", select),
    st.sampled_from(
        [
            *("insert into servers SELECT", "delete from servers", "update servers set name = (SELECT)", "drop view x"),
            *("create table t as SELECT", "create temp table t as SELECT", "attach 'x.db' as y", "vacuum into 'x.db'"),
            *("pragma user_version = 5", "pragma journal_mode = delete", "begin immediate", "reindex", "analyze"),
            *("with w as (SELECT) delete from servers", "explain delete from servers", "SELECT; drop table servers"),
            *("replace into servers SELECT", "alter table servers rename to x", "detach main", "savepoint s; SELECT"),
            *("create trigger t after insert on servers begin SELECT; end", "pragma writable_schema = 1", "vacuum"),
            *("insert into servers select 1 returning *", "create virtual table v using fts5(x)", "/* x */ SELECT -- "),
        ]
    ),
    _SELECT,
)


@given(_SELECT | _WRITES | st.text(max_size=80))
@settings(max_examples=150, deadline=None)
@example("with recursive n(x) as (select 1 union all select x + 1 from n) select x from n")
@example("select 1;" * 1000)
@example("select " + "(" * 5000)
@example("\x00select 1")
@example("select '\ud800'")
def test_any_statement_reads_or_is_refused(statement: str) -> None:
    question(statement.encode("utf-8", "surrogatepass"))
