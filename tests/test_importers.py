"""Servers from other programs' files and from registries: what each format becomes, and that nothing breaks it."""

from __future__ import annotations

import json
import os
import random
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from checker.errors import ConfigError, UsageError
from checker.importers import Imported, fetch, read
from checker.importers.entries import LONGEST_NAME, needed
from checker.importers.trust import Leave
from checker.settings.import_file import chosen, merged_config
from checker.settings.imported import imported_settings
from checker.settings.load import load
from checker.untrusted_text import terminal
from servers import RestServer, Scripted
from servers_faults import FaultServer, closed_port

DATA = Path(__file__).parent / "data" / "imports"
PROJECT = DATA / "project"
FILES = [
    *("claude.json", "project/.vscode/mcp.json", "project/.cursor/mcp.json", "gemini/settings.json", "config.toml"),
    *("fastmcp.json", "server.json", "server_package.json", "server_2025_07.json", "listing.json", "hostile.json"),
]
ALLOWED = Leave(commands=True, ask=lambda wishes: True)
Status = Callable[..., subprocess.CompletedProcess[Any]]


def servers(source: str | Path) -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry["mcp"] for entry in read(str(source)).entries}


def notes(source: str | Path) -> list[str]:
    return list(read(str(source)).notes)


def refusal(source: str | Path) -> str:
    with pytest.raises(ConfigError) as refused:
        read(str(source))
    return str(refused.value)


def in_file(tmp_path: Path, document: Any, name: str = "mcp.json") -> Path:
    file = tmp_path / name
    file.write_text(document if isinstance(document, str) else json.dumps(document))
    return file


def one(tmp_path: Path, **block: Any) -> dict[str, Any]:
    return servers(in_file(tmp_path, {"mcpServers": {"a": block}}))["a"]


# What the files of clients become


def test_claude_file_gives_commands_and_addresses() -> None:
    found = servers(DATA / "claude.json")
    assert found["time"] == {
        "command": "uvx",
        "args": ["mcp-server-time", "--local-timezone=${TZ:-UTC}"],
        "env": {"TZ": "${TZ}"},
    }
    assert found["github"]["transport"] == "streamable-http"
    assert found["old events"] == {"url": "${EVENTS_URL:-https://events.example.com}/sse", "transport": "sse"}
    assert found["numbers"]["args"] == ["8080", "true"]


def test_what_is_left_out_or_ignored_is_noted() -> None:
    assert notes(DATA / "claude.json") == [
        "github: headersHelper is a command and is not run; give the headers themselves",
        "github: ignored: alwaysAllow",
        "off: left out: disabled in the file",
        'socket: left out: "unix:" addresses are not supported; http and https are',
    ]


def test_dollar_that_is_no_variable_stays_a_dollar() -> None:
    entries = imported_settings(str(DATA / "claude.json"), {"X": "x", "TZ": "UTC"}, ALLOWED).servers
    by_name = {server.name: server.probes["mcp"] for server in entries}
    assert by_name["price in $"].args[:3] == ("$5", "$HOME", "$x")


def test_vs_code_file_may_have_comments_and_trailing_commas() -> None:
    found = servers(PROJECT / ".vscode" / "mcp.json")
    assert found["search"] == {
        "url": "https://search.example.com/${REGION:-eu}/mcp",
        "transport": "streamable-http",
        "headers": {"X-API-Key": "${API_KEY}"},
    }
    assert found["files"] == {
        "command": f"{PROJECT}/bin/files",
        "args": ["--root", str(PROJECT), f"--home={Path.home()}", "$${command:pick}"],
        "env": {"LEVEL": "${LOG_LEVEL}"},
    }
    assert found["either"] == {"url": "http://127.0.0.1:9000/mcp"}, "a missing type is found out by the probe"


def test_cursor_file_starts_paths_at_the_project() -> None:
    found = servers(PROJECT / ".cursor" / "mcp.json")
    assert found["files"]["args"] == [f"{PROJECT}/server.js"]
    assert found["files"]["cwd"] == f"{PROJECT}/tools"
    assert found["files"]["env"] == {"T": "${FILES_TOKEN}"}
    assert found["remote"]["transport"] == "streamable-http"


def test_gemini_file_means_sse_by_url_and_counts_in_milliseconds() -> None:
    found = servers(DATA / "gemini" / "settings.json")
    assert found["python"]["env"] == {"KEY": "${MY_KEY}"}
    assert (found["python"]["timeout"], found["stream"]["timeout"]) == ("15s", "2500ms")
    assert found["stream"]["transport"] == "streamable-http"
    assert found["events"] == {"url": "http://127.0.0.1:8080/sse", "transport": "sse"}
    assert "events: timeout is ignored: it is no plausible number of milliseconds" in notes(
        DATA / "gemini" / "settings.json"
    )


def test_codex_file_names_variables_and_fills_in_none() -> None:
    assert servers(DATA / "config.toml") == {
        "context": {
            "command": "npx",
            "args": ["-y", "context-mcp", "price $$5"],
            "env": {"CONTEXT_KEY": "${CONTEXT_KEY}", "REGION": "eu"},
        },
        "figma": {
            "url": "https://mcp.example.com/mcp",
            "headers": {"X-Region": "eu", "X-Team": "${FIGMA_TEAM}"},
            "bearer": "${FIGMA_TOKEN}",
        },
    }


def test_fastmcp_file_gives_a_bearer_token() -> None:
    found = servers(DATA / "fastmcp.json")
    assert found["weather"] == {
        "url": "https://weather.example.com/mcp",
        "transport": "streamable-http",
        "bearer": "literal-hush-6",
        "timeout": "30s",
    }
    assert "bearer" not in found["maps"]


@pytest.mark.parametrize("kind", ["http", "streamable-http", "streamableHttp", "streamable_http"])
def test_every_spelling_of_streamable_http_is_known(tmp_path: Path, kind: str) -> None:
    assert one(tmp_path, type=kind, url="http://h/")["transport"] == "streamable-http"
    assert one(tmp_path, transport=kind, url="http://h/")["transport"] == "streamable-http"


def test_input_never_becomes_a_variable_that_every_system_has_set(tmp_path: Path) -> None:
    assert one(tmp_path, command="x", args=["${input:path}"])["args"] == ["${MCP_PATH}"]


def test_names_are_unique_printable_and_not_too_long() -> None:
    names = list(servers(DATA / "hostile.json"))
    assert len(set(names)) == len(names)
    assert all(name.isprintable() and 1 <= len(name) <= LONGEST_NAME for name in names)
    assert names[2].endswith(" (2)")


def test_hostile_servers_become_notes_of_one_line_each() -> None:
    found = read(str(DATA / "hostile.json"))
    assert {entry["mcp"]["command"] for entry in found.entries} == {"fine"}
    assert len([note for note in found.notes if "left out: " in note]) == 16
    assert all(note.isprintable() and len(note) <= 300 for note in found.notes)


# What the registry's files become


def test_server_json_fills_in_defaults_and_asks_for_the_rest() -> None:
    found = servers(DATA / "server.json")
    assert found == {
        "io.github.example/weather": {
            "url": "https://eu.example.com/${TENANT}/mcp",
            "transport": "streamable-http",
            "headers": {"Authorization": "Bearer ${API_KEY}", "X-API-Key": "${X_API_KEY}", "X-Price": "$$5"},
        },
        "io.github.example/weather (2)": {"url": "https://example.com/sse", "transport": "sse"},
    }


def test_package_becomes_the_command_that_starts_it() -> None:
    assert servers(DATA / "server_package.json") == {
        "io.github.example/brave": {
            "command": "npx",
            "args": [
                *("-y", "--loglevel", "error", "@example/brave@1.0.2"),
                *("${ROOT_FOLDER}", "--mode", "safe", "--verbose"),
            ],
            "env": {"BRAVE_API_KEY": "${BRAVE_API_KEY}", "BRAVE_REGION": "eu"},
        }
    }


def test_older_server_json_is_read_in_snake_case() -> None:
    assert servers(DATA / "server_2025_07.json") == {
        "io.github.example/files": {
            "command": "docker",
            "args": [
                *("run", "-i", "--rm", "--env=FILES_KEY", "--network", "none", "example/files:0.3.1"),
                "${MCP_PATH}",
            ],
            "env": {"FILES_KEY": "${FILES_KEY}"},
        }
    }


@pytest.mark.parametrize("identifier", ["--eval=evil", "-c", "a b", "", "x\ny", 5])
def test_package_name_cannot_smuggle_in_an_option(tmp_path: Path, identifier: Any) -> None:
    package = {"registryType": "npm", "identifier": identifier, "transport": {"type": "stdio"}}
    found = read(str(in_file(tmp_path, {"name": "x", "packages": [package]})))
    assert (found.entries, len(found.notes)) == ((), 1)


def test_listing_leaves_out_what_is_old_or_gone_and_shares_no_variable() -> None:
    found = servers(DATA / "listing.json")
    assert list(found) == ["com.example/one", "com.example/two", "com.example/local"]
    assert needed(found["com.example/one"]) == ("COM_EXAMPLE_ONE_AUTHORIZATION",)
    assert needed(found["com.example/two"]) == ("COM_EXAMPLE_TWO_AUTHORIZATION",)
    assert notes(DATA / "listing.json") == [
        "com.example/nothing: left out: neither remotes nor packages",
        "an item of the listing is not a server; left out",
        "the listing goes on at its registry; only the page in the file is read",
        "left out, because they are not active or not the latest version: 2",
    ]


# Registries over HTTP


class Registry:
    """A registry of servers ``s0``, ``s1`` and so on, which counts what it is asked for."""

    def __init__(self, count: int, per_page: int = 2, cursor_key: str = "nextCursor") -> None:
        self.asked: list[str] = []
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args: Any) -> None:
                """Say nothing."""

            def do_GET(self) -> None:
                registry.asked.append(self.path)
                start = int(parse_qs(urlsplit(self.path).query).get("cursor", ["0"])[0])
                found = [registry.server(number) for number in range(start, min(start + per_page, count))]
                metadata = {cursor_key: str(start + per_page)} if start + per_page < count else {}
                body = json.dumps({"servers": found, "metadata": metadata}).encode()
                self.send_response(200 if self.path.startswith("/v0.1/servers") else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"

    def server(self, number: int) -> dict[str, Any]:
        remote = {"type": "streamable-http", "url": f"{self.url}/{number}"}
        return {"server": {"name": f"test/s{number}", "version": "1", "remotes": [remote]}}

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry(5) as running:
        yield running


@pytest.mark.parametrize("key", ["nextCursor", "next_cursor"])
def test_listing_is_read_page_by_page_to_its_end(key: str) -> None:
    with Registry(5, cursor_key=key) as registry:
        assert list(servers(f"{registry.url}/v0.1/servers?search=x")) == [f"test/s{number}" for number in range(5)]
    assert registry.asked == [
        "/v0.1/servers?search=x",
        "/v0.1/servers?search=x&cursor=2",
        "/v0.1/servers?search=x&cursor=4",
    ]


def test_registry_without_a_path_is_asked_for_its_listing(registry: Registry) -> None:
    assert len(servers(registry.url)) == 5
    assert urlsplit(registry.asked[0]).path == "/v0.1/servers"


def test_listing_that_goes_round_in_circles_ends() -> None:
    page = Scripted(body=json.dumps({"servers": [], "metadata": {"nextCursor": "again"}}).encode())
    with RestServer({"/v0.1/servers": page}) as server:
        found = read(server.url("/"))
    assert found.notes == ("the registry gives the same page again; the listing ends there",)
    assert len(server.requests) == 2


def test_endless_listing_ends_at_the_page_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("checker.importers.listing.MOST_PAGES", 3)
    with Registry(10**9, per_page=1) as registry:
        found = read(registry.url)
    assert (len(found.entries), len(registry.asked)) == (3, 4)
    assert found.notes[-1] == "the listing is not read to its end: it has more than 3 pages"


@pytest.mark.parametrize(
    ("scripted", "said"),
    [
        (Scripted(404, b"no"), "HTTP 404; give an address that can be read"),
        (Scripted(200, b"<!DOCTYPE html><p>hi"), "a web page, not JSON; give the address of the file itself"),
        (Scripted(200, b'{"servers": 5}'), "servers: not a list; is this the listing of an MCP registry?"),
        (Scripted(200, b"\xff\xfe{"), "not UTF-8 text (byte 0); save it as UTF-8"),
    ],
)
def test_address_that_gives_no_listing_is_refused_without_its_secrets(scripted: Scripted, said: str) -> None:
    with RestServer({"/list": scripted}) as server:
        source = f"http://me:hush@127.0.0.1:{server.port}/list?token=hush#hush"
        assert refusal(source) == f"http://127.0.0.1:{server.port}/list?token=***: {said}"


def test_body_that_is_too_large_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "MOST_BYTES", 1024 * 1024)
    with RestServer({"/list": Scripted(200, b" " * 1024 * 1024 + b"{}")}) as server:
        assert "larger than 1 MiB" in refusal(server.url("/list"))


def test_server_that_sends_forever_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "PAGE_TIMEOUT_S", 0.5)
    with FaultServer("drip_body") as server:
        assert "still sending after 0.5 s; save it to a file" in refusal(server.url())


def test_dead_address_is_one_message() -> None:
    port = closed_port()
    said = f"http://127.0.0.1:{port}/: no connection, or a broken one; is the address right?"
    assert refusal(f"http://127.0.0.1:{port}/").replace("/v0.1/servers?limit=***&version=***", "/") == said


@pytest.mark.parametrize("address", ["http://", "http://[", "https://h:port/", "http://\ud800/"])
def test_what_is_no_address_is_one_message(address: str) -> None:
    assert "address" in refusal(address)


# What cannot be read


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "FILE:1:1: not valid JSON: Expecting value; mend it"),
        ("[" * 100_000, "FILE: nested too deeply to be a list of servers"),
        ('{"mcpServers": {"a": ' * 50_000, "FILE: nested too deeply to be a list of servers"),
        ('{\n "mcpServers": {"a" 5}}', "FILE:2:21: not valid JSON: Expecting ':' delimiter; mend it"),
        ("5", "FILE: not an object; "),
        ("{}", "FILE: no list of servers; "),
        ('{"mcpServers": []}', "FILE: mcpServers: not a mapping; write names, each with its server"),
        ('{"mcpServers": {"\\ud800": {"command": "x"}}}', "FILE: holds half of a character"),
        ('{"a": ' + "9" * 5000 + "}", "FILE: not valid JSON: a number is too long"),
        ("/* " * 100_000, "FILE:1:300001: not valid JSON: Expecting value; mend it"),
        ('{"a": "' + '\\"' * 100_000, "FILE:1:7: not valid JSON"),
    ],
)
def test_broken_file_is_refused_with_one_message(tmp_path: Path, text: str, said: str) -> None:
    file = in_file(tmp_path, text)
    message = refusal(file).replace(str(file), "FILE")
    assert message.startswith(said)
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[mcp_servers.a\n", "FILE: not valid TOML: "),
        ("a = " + "[" * 5000, "FILE: nested too deeply to be a list of servers"),
        ("mcp_servers = 5", "FILE: mcp_servers: not a mapping"),
        ("model = 5", "FILE: no list of servers"),
    ],
)
def test_broken_toml_is_refused_with_one_message(tmp_path: Path, text: str, said: str) -> None:
    file = in_file(tmp_path, text, "config.toml")
    assert refusal(file).replace(str(file), "FILE").startswith(said)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"{tmp_path}: Is a directory; name a readable file, or an http or https address"
    assert "No such file" in refusal(tmp_path / "none.json")
    assert "not a path" in refusal("a\0b")
    assert "YAML is not imported" in refusal("fleet.yaml")


def test_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "large.json"
    with file.open("wb") as sparse:
        sparse.truncate(fetch.MOST_BYTES + 1)
    assert refusal(file) == f"{file}: larger than 20 MiB, which no list of servers is"


KEYS = st.sampled_from(
    [
        *(
            "mcpServers",
            "servers",
            "server",
            "mcp",
            "inputs",
            "command",
            "args",
            "env",
            "cwd",
            "url",
            "httpUrl",
            "type",
        ),
        *("transport", "headers", "timeout", "disabled", "auth", "remotes", "packages", "identifier", "registryType"),
        *(
            "environmentVariables",
            "packageArguments",
            "variables",
            "name",
            "value",
            "default",
            "isRequired",
            "metadata",
        ),
        *("nextCursor", "_meta", "status", "id"),
    ]
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["http://h/", "${", "$"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(max_size=5), inner, max_size=5),
    max_leaves=20,
)
DOCUMENTS = JSON | st.builds(
    lambda key, inner: {key: inner},
    st.sampled_from(["mcpServers", "servers", "remotes", "packages", "mcp_servers"]),
    st.dictionaries(st.text(max_size=5), JSON, max_size=4) | st.lists(JSON, max_size=4),
)


@given(DOCUMENTS)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_json_is_imported_or_refused(tmp_path: Path, document: Any) -> None:
    file = in_file(tmp_path, document)
    try:
        found = read(str(file))
    except ConfigError as error:
        assert "\n" not in str(error)
        return
    assert isinstance(found, Imported)
    assert all(terminal(note) == note for note in found.notes)  # characters that Unicode has not named yet may stay
    if found.entries:
        text, _ = merged_config(None, found)
        assert len(yaml.safe_load(text)["servers"]) == len(found.entries)


def test_any_damage_to_a_file_is_imported_or_refused(tmp_path: Path) -> None:
    random_ = random.Random(20_261_123)
    whole = [(DATA / name).read_text() for name in FILES if name.endswith(".json")]
    for _ in range(400):
        text = random_.choice(whole)
        for _ in range(random_.randint(1, 5)):
            at = random_.randrange(len(text))
            text = text[:at] + random_.choice(["", "{", "}", "[", '"', ",", "5", "null", "$", "//"]) + text[at + 1 :]
        try:
            read(str(in_file(tmp_path, text)))
        except ConfigError as error:
            assert "\n" not in str(error)


# What is written


@pytest.mark.parametrize("name", FILES)
def test_written_config_is_valid_once_its_variables_are_set(tmp_path: Path, name: str) -> None:
    imported = read(str(DATA / name))
    text, said = merged_config(None, imported)
    file = tmp_path / "fleet.yaml"
    file.write_text(text)
    variables = needed(yaml.safe_load(text))
    assert all(any(variable in note for note in said) for variable in variables)
    found = load(file, environ=dict.fromkeys(variables, "value"))
    assert len(found.servers) == len(imported.entries)


@pytest.mark.parametrize("name", FILES)
def test_no_secret_is_written_or_noted(name: str) -> None:
    imported = read(str(DATA / name))
    text, said = merged_config(None, imported)
    assert "hush" not in text + "".join(said) + "".join(imported.notes)


def test_note_says_which_variable_takes_the_place_of_a_secret() -> None:
    _, said = merged_config(None, read(str(DATA / "claude.json")))
    assert "github: set GITHUB_AUTHORIZATION to the value of Authorization, which is not written" in said
    assert "time: needs the variable TZ" in said


@pytest.mark.parametrize(
    "block",
    [
        {"command": "x", "args": ["--api-key=hush-hush"]},
        {"command": "x", "args": ["--token", "hush-hush"]},
        {"command": "npx", "args": ["mcp-remote", "https://h/", "--header", "Authorization: Bearer hush-hush"]},
        {"command": "npx", "args": ["mcp-remote", "https://h/", "--header", "Authorization:hush-hush"]},
        {"command": "docker", "args": ["run", "-e", "API_KEY=hush-hush", "--env=API_KEY=hush-hush", "image"]},
        {"command": "x", "args": ["ghp_hush-hush-hush"]},
        {"command": "x", "args": ["x" * 5000 + " token=hush-hush"]},
        {"command": "x", "env": {"DATABASE": "postgresql://me:hush-hush@h/x"}},
        {"command": "x", "env": {"API_KEY": "${API_KEY:-hush-hush}"}},
        {"command": "x", "env": {"API_KEY": "hush-hush-hush${X}"}},
        {"url": "https://me:hush-hush@h/"},
        {"url": "https://hush-hush@h/"},
        {"url": "https://h/?access_token=hush-hush"},
        {"url": "https://h/", "headers": {"x-api-key": "hush-hush"}},
        {"url": "https://h/", "auth": "hush-hush"},
    ],
)
def test_literal_secret_is_found_wherever_it_stands(tmp_path: Path, block: dict[str, Any]) -> None:
    imported = read(str(in_file(tmp_path, {"mcpServers": {"a": block}})))
    text, said = merged_config(None, imported)
    assert "hush" not in text + "".join(said)
    assert any(note.startswith("a: set ") for note in said)


def test_variable_stays_where_it_stands(tmp_path: Path) -> None:
    block = {"url": "https://${U}:${P}@h/", "headers": {"X-Key": "Bearer ${KEY}"}}
    text, _ = merged_config(None, read(str(in_file(tmp_path, {"mcpServers": {"a": block}}))))
    assert yaml.safe_load(text)["servers"][0]["mcp"] == block


def test_two_secrets_never_share_a_variable(tmp_path: Path) -> None:
    blocks = {name: {"command": "x", "env": {"API_KEY": name}} for name in ("a-b", "a_b")}
    text, _ = merged_config("x-used: ${A_B_API_KEY_2}\n", read(str(in_file(tmp_path, {"mcpServers": blocks}))))
    assert needed(yaml.safe_load(text)["servers"]) == ("A_B_API_KEY", "A_B_API_KEY_3")


EXISTING = {
    "indented": "servers:\n  # the first\n  - name: b  # why\n    rest: http://h/\n\n# end\nrun: {workers: 2}\n",
    "not indented": "defaults: {mcp: {timeout: 3s}}\nservers:\n- name: b\n  rest: http://h/\nrun: {workers: 2}\n",
    "last, without a line end": "run: {workers: 2}\nservers:\n    -   name: b\n        rest: http://h/",
    "windows": "servers:\r\n  - name: b\r\n    rest: http://h/\r\nrun: {workers: 2}\r\n",
    "flow items": "servers:\n  - {name: b, rest: http://h/,\n     tags: [x,\n  y]}  # why\n\nrun: {workers: 2}\n",
    "without servers": "run: {workers: 2}\n",
    "block text": "servers:\n  - name: b\n    rest:\n      body: |+\n        a\n\n        b\n\n\nrun: {workers: 2}\n",
    "servers elsewhere": "x-a: servers\nx-b: {servers: []}\nservers:\n  - name: b\n    rest: http://h/\n",
    "nothing": "",
    "a comment": "# nothing yet\n",
}


@pytest.mark.parametrize("name", EXISTING)
def test_servers_are_added_and_the_rest_stays_to_the_byte(tmp_path: Path, name: str) -> None:
    before = EXISTING[name]
    imported = read(str(in_file(tmp_path, {"mcpServers": {"new": {"url": "http://n/"}, "two": {"url": "http://n/"}}})))
    text, said = merged_config(before, imported)
    assert said == []
    added = yaml.safe_load(text)
    expected = yaml.safe_load(before) or {}
    new = [{"name": name, "mcp": {"url": "http://n/"}} for name in ("new", "two")]
    assert added == {**expected, "servers": [*expected.get("servers", []), *new]}
    same = next((at for at, (one, other) in enumerate(zip(before, text, strict=False)) if one != other), len(before))
    assert text.endswith(before[same:])
    if "\r\n" in before:
        assert text.count("\r\n") == text.count("\n")


@pytest.mark.parametrize(
    "text", ["servers: []\n", "servers:\n", "{servers: [{name: b}]}", "servers: &a [1]\n", "servers: {}"]
)
def test_list_that_cannot_be_added_to_is_refused(tmp_path: Path, text: str) -> None:
    imported = read(str(in_file(tmp_path, {"mcpServers": {"new": {"url": "http://n/"}}})))
    with pytest.raises(ConfigError, match="cannot be added to; write them as a list"):
        merged_config(text, imported)


@pytest.mark.parametrize("text", ["a: [", "- a", "[" * 10_000, "a: !!python/object:os.system x"])
def test_what_is_no_config_is_refused(tmp_path: Path, text: str) -> None:
    imported = read(str(in_file(tmp_path, {"mcpServers": {"new": {"url": "http://n/"}}})))
    with pytest.raises(ConfigError, match=r"^the config is not"):
        merged_config(text, imported)


def test_server_that_is_there_is_left_alone(tmp_path: Path) -> None:
    imported = read(str(in_file(tmp_path, {"mcpServers": {"b": {"url": "http://n/"}}})))
    before = EXISTING["indented"]
    assert merged_config(before, imported) == (before, ["b: left out: the config has a server of this name"])


def test_only_the_named_servers_are_chosen() -> None:
    imported = read(str(DATA / "claude.json"))
    assert [entry["name"] for entry in chosen(imported, ["time"]).entries] == ["time"]
    with pytest.raises(UsageError, match='no server "tiem" was imported; there are: time'):
        chosen(imported, ["tiem"])


# Settings straight from a source


def test_server_whose_variable_is_not_set_is_left_out() -> None:
    found = imported_settings(str(DATA / "gemini" / "settings.json"), {"MY_KEY": "x"}, ALLOWED)
    assert [server.name for server in found.servers] == ["python", "events"]
    assert found.path == str(DATA / "gemini" / "settings.json")
    assert "stream: needs the variable TOKEN" in found.warnings


def test_literal_secret_is_used_as_it_is() -> None:
    found = imported_settings(str(DATA / "claude.json"), {}, ALLOWED)
    options = {server.name: server.probes["mcp"] for server in found.servers}["github"]
    assert options.headers["Authorization"] == "Bearer literal-hush-1"


def test_source_without_a_usable_server_is_refused(tmp_path: Path) -> None:
    file = in_file(tmp_path, {"mcpServers": {"a": {"url": "http://${HOST_X}/"}}})
    with pytest.raises(ConfigError) as refused:
        imported_settings(str(file), {})
    assert str(refused.value) == f"{file}: no server in it can be checked\na: needs the variable HOST_X"


def test_problem_names_the_source_and_the_server(tmp_path: Path) -> None:
    file = in_file(tmp_path, {"mcpServers": {"a b": {"url": "${ADDRESS}"}}})
    with pytest.raises(ConfigError) as refused:
        imported_settings(str(file), {"ADDRESS": "ftp://h/"}, ALLOWED)
    assert str(refused.value).startswith(f'{file}: a b.mcp.url: "ftp://h/" is not an http or https address')


def test_command_from_the_network_is_not_checked() -> None:
    with RestServer({"/list": Scripted(200, (DATA / "listing.json").read_bytes())}) as server:
        environ = {f"COM_EXAMPLE_{name}_AUTHORIZATION": "x" for name in ("ONE", "TWO")}
        found = imported_settings(server.url("/list"), environ, Leave(variables=frozenset(environ)))
    assert [one.name for one in found.servers] == ["com.example/one", "com.example/two"]
    assert any(warning.startswith("com.example/local: left out: starts a command") for warning in found.warnings)


# The command


def test_import_prints_yaml_and_notes_apart(status: Status) -> None:
    done = status("config", "import", DATA / "fastmcp.json", "--only", "maps")
    assert (done.returncode, yaml.safe_load(done.stdout)["servers"][0]["name"]) == (0, "maps")
    assert "mcp-status: assistant: ignored: keep_alive" in done.stderr.splitlines()


def test_imported_file_passes_validate_and_is_not_overwritten(status: Status, tmp_path: Path) -> None:
    file = tmp_path / "fleet.yaml"
    assert status("config", "import", DATA / "server.json", "-o", file).returncode == 0
    env = {"TENANT": "t", "API_KEY": "k", "X_API_KEY": "x"}
    valid = status("config", "validate", file, env=env)
    assert (valid.returncode, valid.stderr) == (0, "")
    again = status("config", "import", DATA / "server.json", "-o", file)
    assert again.returncode == 3
    assert again.stderr == f"mcp-status: {file} exists; name another file, or replace it with --force\n"
    file.write_text("x")
    file.chmod(0o600)
    assert status("config", "import", DATA / "server.json", "-o", file, "--force").returncode == 0
    assert "servers:" in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.glob("tmp*")) == []


def test_merge_changes_the_config_in_place_where_output_names_it(status: Status, tmp_path: Path) -> None:
    config = tmp_path / "fleet.yaml"
    config.write_bytes(EXISTING["windows"].encode())
    shown = status("config", "import", DATA / "fastmcp.json", "--only", "maps", "--merge", config, text=False)
    assert config.read_bytes() == EXISTING["windows"].encode(), "without --output nothing is changed"
    done = status("config", "import", DATA / "fastmcp.json", "--only", "maps", "--merge", config, "-o", config)
    assert done.returncode == 0
    assert config.read_bytes() == shown.stdout
    assert status("config", "validate", config).returncode == 0


def test_import_of_nonsense_is_a_message_and_no_traceback(status: Status, tmp_path: Path) -> None:
    for source in (in_file(tmp_path, "nonsense"), tmp_path / "none", "http://127.0.0.1:1/x?token=hush"):
        done = status("config", "import", source)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (3, "", 1)
        assert "hush" not in done.stderr


@pytest.mark.parametrize("arguments", [["config", "import"]])
def test_help_of_import_is_as_recorded(status: Status, arguments: list[str]) -> None:
    """`MCP_STATUS_UPDATE=1 pytest` records it anew."""
    shown = status(*arguments, "--help").stdout
    file = Path(__file__).parent / "snapshots" / f"help-{'-'.join(arguments)}.txt"
    if os.environ.get("MCP_STATUS_UPDATE"):
        file.write_text(shown)
    assert shown == file.read_text()


WAYS = {
    # how other clients write the same list of servers
    "mcpServers": lambda listed: {"mcpServers": listed},
    "OpenCode": lambda listed: {"mcp": listed},
    "VS Code": lambda listed: {"servers": listed},
    "settings of VS Code": lambda listed: {"mcp": {"servers": listed}},
    "settings in one key": lambda listed: {"editor.fontSize": 12, "mcp.servers": listed},
    "Amp": lambda listed: {"amp.mcpServers": listed},
    "workspace": lambda listed: {"folders": [], "settings": {"mcp": {"servers": listed}}},
    "development container": lambda listed: {"image": "x", "customizations": {"vscode": {"mcp": {"servers": listed}}}},
    "Zed": lambda listed: {"context_servers": listed},
}


@pytest.mark.parametrize("way", WAYS)
def test_the_same_list_is_read_wherever_a_client_keeps_it(way: str, tmp_path: Path) -> None:
    listed = {"files": {"command": "npx", "args": ["-y", "files"]}, "docs": {"url": "https://docs.test/mcp"}}
    found = servers(in_file(tmp_path, WAYS[way](listed), "settings.json"))
    assert sorted(found) == ["docs", "files"]
    assert found["files"]["command"] == "npx"
