"""Bare addresses and commands on the command line: what they are taken for, and under which names they are checked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checker.errors import UsageError
from checker.settings.adhoc import adhoc_servers
from checker.settings.loadtests.quick import quick_plan
from checker.settings.targets import CheckTarget, kind_of_address, targets
from servers import McpServer, RestServer
from servers_faults import closed_port

ROOT = Path(__file__).resolve().parent.parent
Status = Callable[..., subprocess.CompletedProcess[Any]]

KINDS = {
    "https://h/mcp": "mcp",
    "https://h/mcp/": "mcp",
    "http://h:1/api/mcp/v1": "mcp",
    "http://h/sse": "mcp",
    "https://mcp.h.example": "mcp",
    "https://h/": "rest",
    "https://h/health": "rest",
    "https://h/mcp/health": "rest",
    "https://h/mcp-docs": "rest",
    "https://mcps.example/": "rest",
}


def test_kind_of_an_address_is_guessed_once_for_checks_and_for_load() -> None:
    for url, kind in KINDS.items():
        assert kind_of_address(url) == kind, url
        assert quick_plan(url, public_hosts=("h",)).servers[0].probes.keys() == {kind}, url


def checks(done: subprocess.CompletedProcess[Any]) -> dict[str, list[str]]:
    """The servers of a run by their names, each with the kinds of its probes."""
    return {one["server"]: [probe["kind"] for probe in one["probes"]] for one in json.loads(done.stdout)["checks"]}


def test_bare_addresses_are_checked_as_what_they_look_like_and_that_is_said(status: Status) -> None:
    with McpServer() as mcp, RestServer() as rest:
        done = status("check", mcp.url(), rest.url(), "--format", "json")
        assert done.returncode == 0
        assert checks(done) == {f"127.0.0.1:{mcp.port}": ["mcp"], f"127.0.0.1:{rest.port}": ["rest"]}
        assert f"mcp-status: {mcp.url()}: checked as MCP, by its looks; --rest says otherwise\n" in done.stderr
        assert f"mcp-status: {rest.url()}: checked as REST, by its looks; --mcp says otherwise\n" in done.stderr
        assert "checked as" not in status("check", mcp.url(), "--quiet").stderr


def test_command_is_started_as_an_mcp_server(status: Status) -> None:
    server = str(ROOT / "tests" / "data" / "stdio" / "speaks.py")
    for words in (["--", sys.executable, server], [f"{sys.executable} {server}"]):
        done = status("check", "--format", "json", *words)
        assert list(checks(done).values()) == [["mcp"]], done.stderr
        assert "started as an MCP server (--stdio)" in done.stderr


def test_each_of_several_options_is_checked_under_a_name_of_its_own(status: Status) -> None:
    with McpServer() as mcp, RestServer() as rest:
        urls = ["--mcp", mcp.url(), *(word for path in "abb" for word in ("--rest", rest.url(f"/{path}")))]
        done = status("check", *urls, "--format", "json")
    host = f"127.0.0.1:{rest.port}"
    assert checks(done) == {f"127.0.0.1:{mcp.port}": ["mcp"], f"{host}/a": ["rest"], f"{host}/b": ["rest"]}


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["mcp", "rest"]),
            st.sampled_from(["http://h", "https://h", "http://u:p@h", "http://h:1"]),
            st.sampled_from(["", "/", "/mcp", "/health", "/a", "/a?b=c", "/a?b=d"]),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_names_always_tell_servers_apart_and_show_no_secret(given: list[tuple[str, str, str]]) -> None:
    asked = [CheckTarget(kind, base + path) for kind, base, path in given]
    servers = adhoc_servers(asked)
    assert len({one.name for one in servers}) == len(servers)
    assert not any("p@" in one.name or "b=c" in one.name for one in servers)
    if len(servers) > 1:
        assert len(servers) == len({(one.option, one.value) for one in asked})


def test_name_of_an_address_alone_does_not_depend_on_how_it_is_given() -> None:
    (option,), (bare,) = (adhoc_servers([CheckTarget("mcp", "http://h/mcp", guessed)]) for guessed in (False, True))
    assert option.name == bare.name == "h"


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("localhost:8000/mcp", "an address begins with its scheme: http://localhost:8000/mcp"),
        ("example.com", "an address begins with its scheme: https://example.com"),
        ("flet", 'did you mean "fleet.yaml"?'),
        ("no-such-thing", "no such file, and no program of this name; name a config file, an address or a command"),
    ],
)
def test_word_that_is_nothing_gets_what_to_write_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str, said: str
) -> None:
    (tmp_path / "fleet.yaml").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as refused:
        targets([word])
    assert said in str(refused.value)


def test_file_goes_before_a_program_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert targets(["ls", "-l"]) == [CheckTarget("stdio", "ls -l", is_guessed=True)]
    (tmp_path / "ls").touch()
    assert targets(["ls"]) == Path("ls")
    (tmp_path / "start it").touch(0o755)
    assert targets(["./start it", "now"]) == [CheckTarget("stdio", "'./start it' now", is_guessed=True)]
    with pytest.raises(UsageError, match="a file is checked by itself; check http://h/ with a command of its own"):
        targets(["ls", "http://h/"])


def test_configuration_comes_through_standard_input(tmp_path: Path) -> None:
    document = {"servers": [{"name": "piped", "rest": f"http://127.0.0.1:{closed_port()}/"}]}
    for command, words in (("check", ["--format", "json"]), ("config", ["validate"])):
        arguments = ["check", "-", *words] if command == "check" else ["config", "validate", "-"]
        done = subprocess.run(
            [sys.executable, "-m", "checker", *arguments],
            input=json.dumps(document),
            env={**os.environ, "MCP_STATUS_DB": str(tmp_path / "h.db"), "PYTHONPATH": str(ROOT)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr if command == "config" else "") == (2 if command == "check" else 0, "")
        assert "piped" in done.stdout or "-: valid" in done.stdout


def names(status: Status) -> dict[str, int]:
    query = "select server, count(*) as n from check_history group by 1"
    rows = json.loads(status("sql", query, "--format", "json").stdout)
    return {row["server"]: row["n"] for row in rows}


def test_ad_hoc_check_never_goes_into_the_history_of_a_fleet(status: Status, tmp_path: Path) -> None:
    """Whoever was first keeps what it has: the name is the fleet's."""
    with RestServer() as rest:
        host = f"127.0.0.1:{rest.port}"
        fleet = tmp_path / "fleet.yaml"
        fleet.write_text(json.dumps({"servers": [{"name": host, "rest": rest.url("/of-fleet")}]}))
        status("check", "--rest", rest.url())
        status("check", "--rest", rest.url())
        assert names(status) == {host: 2}
        status("check", fleet)
        assert names(status) == {host: 1, f"{host} (ad hoc)": 2}
        done = status("check", "--rest", rest.url())
        assert f'"{host}" is a server of a configuration in this history; this one is "{host} (ad hoc)"' in done.stderr
        status("check", fleet)
    assert names(status) == {host: 2, f"{host} (ad hoc)": 3}


def test_dash_is_standard_input_and_output_of_every_command(tmp_path: Path) -> None:
    """No file of that name is read or made."""

    def run(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "MCP_STATUS_DB": str(tmp_path / "h.db"), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "checker", *arguments]
        return subprocess.run(
            command, input=given, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )

    client = json.dumps({"mcpServers": {"one": {"url": f"http://127.0.0.1:{closed_port()}/mcp"}}})
    assert "name: one" in run("config", "import", "-", "-o", "-", given=client).stdout
    assert (
        json.loads(run("check", "--from", "-", "--format", "json", given=client).stdout)["checks"][0]["server"] == "one"
    )
    assert run("report", "availability", "--format", "csv", "-o", "-").stdout.startswith("server,")
    assert not (tmp_path / "-").exists()
