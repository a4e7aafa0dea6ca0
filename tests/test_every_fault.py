"""`config validate`: every fault of every environment in one go, and files that are something else."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from checker.errors import ConfigError
from checker.settings.every_fault import validation
from checker.settings.load import load

Status = Callable[..., subprocess.CompletedProcess[Any]]

BROKEN = """\
serverz: 1
servers:
  - name: a
    rest: {url: "http://h:99999/", timout: 3s, timeout: fast}
  - name: a
    mcp: {url: "${MCP_URL}", bearer: "${TOKEN}", bearer_file: nope.txt}
  - name: c
    name: c
    rest: {url: "${URL}", bearer_file: gone}
  - name: d
    rest: {url: "http://x/", timeout: "${TIMEOUT}", headers: {a: "${bad-name}"}}
run: {workers: many, concurency: 3}
environments:
  prod:
    servers:
      a: {rest: {timeout: -1}}
      nosuch: {rest: http://x/}
    run: {workers: 0}
  dev:
    serverss: 1
    defaults: {rest: {timeout: 0s}}
  odd: 7
"""
ALWAYS = """\
1: serverz: unknown key; did you mean "servers"?
4: servers[0].rest.timeout: "fast" is not valid: write a duration like 300ms, 30s, 5m or 1h
4: servers[0].rest.timout: unknown key; did you mean "timeout"?
4: servers[0].rest.url: port 99999 does not exist; ports are 1 to 65535
5: servers[1].name: "a" is used by another server too; names must be unique
6: servers[1].mcp.bearer_file: bearer is set as well; keep one of them
7: servers[2].name: duplicate key (again in line 8)
11: servers[3].rest.headers.a: "${…" is not a variable; write ${NAME}, or $${ for the text itself
12: run.concurency: unknown key; did you mean "concurrency"?
12: run.workers: "many" is not valid: write a whole number
16: servers[1].rest.timeout: -1 is not valid: a duration is 0 or more seconds (in environment prod)
16: servers[1].rest.url: missing; add this key (in environment prod)
17: environments.prod.servers.nosuch: no server of this name; known here: a, c, d
18: run.workers: 0 is not valid: write 1 or more (in environment prod)
20: environments.dev.serverss: unknown key; did you mean "servers"?
21: defaults.rest.timeout: 0 is not a time limit; write a duration like 5s (in environment dev)
22: environments.odd: write keys and values, indented below
"""
WITHOUT_SECRETS = """\
6: servers[1].mcp.bearer: the environment variable TOKEN is not set; set it, or write ${TOKEN:-default}
6: servers[1].mcp.url: the environment variable MCP_URL is not set; set it, or write ${MCP_URL:-default}
9: servers[2].rest.bearer_file: "gone": No such file or directory; name a readable file, from the folder of this one
9: servers[2].rest.url: the environment variable URL is not set; set it, or write ${URL:-default}
11: servers[3].rest.timeout: the environment variable TIMEOUT is not set; set it, or write ${TIMEOUT:-default}
"""


def lines(text: str) -> list[str]:
    return sorted(text.splitlines())


def test_every_fault_of_every_environment_is_told_at_once_by_line(tmp_path: Path) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text(BROKEN)
    for allow_unset, expected in ((False, ALWAYS + WITHOUT_SECRETS), (True, ALWAYS)):
        faults = validation(file, None, {}, allow_unset=allow_unset).faults
        told = [text.removeprefix(f"{file}:") for text in faults]
        assert sorted(told) == lines(expected)
        numbers = [int(text.partition(":")[0]) for text in told]
        assert numbers == sorted(numbers)


def test_selected_environment_needs_its_secrets_and_the_others_do_not(tmp_path: Path) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text(
        "servers:\n  - {name: a, rest: http://h/}\nenvironments:\n"
        "  one: {servers: {a: {rest: {bearer: '${ONE}'}}}}\n  two: {servers: {a: {rest: {bearer: '${TWO}'}}}}\n"
    )
    assert validation(file, None, {}).faults == ()
    assert validation(file, "one", {"ONE": "x"}).faults == ()
    (fault,) = validation(file, "one", {"TWO": "x"}).faults
    assert fault.endswith(
        "the environment variable ONE is not set; set it, or write ${ONE:-default} (in environment one)"
    )
    assert validation(file, "one", {}, allow_unset=True).unset == ("ONE",)
    (fault,) = validation(file, "three", {}).faults
    assert fault.endswith('environments: no environment "three"; there are: one, two')


def test_no_fault_is_left_out_however_many_there_are(status: Status, tmp_path: Path) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text(yaml.safe_dump({"servers": [{"name": f"s{n}", "rest": "ftp://h/"} for n in range(40)]}))
    done = status("config", "validate", file)
    assert (done.returncode, len(done.stderr.splitlines())) == (3, 40)
    done = status("check", file)
    assert done.stderr.splitlines()[-1] == f"and 30 more; `mcp-status config validate {file}` lists them all"


def test_secrets_need_not_be_there(status: Status, tmp_path: Path) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text("servers:\n  - {name: a, rest: {url: 'http://h/${PART}', bearer_file: token.txt}}\n")
    assert status("config", "validate", file).returncode == 3
    done = status("config", "validate", file, "--allow-unset")
    assert (done.returncode, done.stdout) == (0, f"{file}: valid; not here: PART, token.txt\n")


options = st.dictionaries(
    st.sampled_from(["timeout", "method", "max_redirects", "bearer", "expect", "nonsense"]),
    st.sampled_from([0, -1, "3s", "GET", "${UNSET}", "${SET}", "x y", None, {"status": [200]}, {"max_latency": "x"}]),
    max_size=3,
)
entries = st.fixed_dictionaries(
    {"name": st.sampled_from(["a", "b", "", 7]), "rest": st.builds(lambda more: {"url": "http://h/", **more}, options)},
    optional={"weights": st.sampled_from([{"rest": 0}, {"mcp": 1}]), "tags": st.sampled_from(["x", ["x"]])},
)


@given(
    st.lists(entries, min_size=1, max_size=3),
    st.dictionaries(
        st.sampled_from(["x", "y"]), st.fixed_dictionaries({}, optional={"defaults": st.builds(dict, rest=options)})
    ),
)
def test_file_without_a_fault_loads_in_every_environment_and_no_other_does(
    tmp_path_factory: pytest.TempPathFactory, listed: list[Any], environments: dict[str, Any]
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_text(yaml.safe_dump({"servers": listed, "environments": environments}))
    environ = {"SET": "4", "UNSET": "5"}
    loads = []
    for name in (None, *environments):
        try:
            load(file, name, environ)
        except ConfigError:
            loads.append(False)
        else:
            loads.append(True)
    found = validation(file, None, environ)
    assert (found.faults == ()) == all(loads)
    lenient = validation(file, None, {"SET": "4"}, allow_unset=True)
    assert {text for text in lenient.faults if "UNSET" not in text} <= set(found.faults)


def of_sqlite(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("create table t (x)")
    connection.close()


OTHERS: list[tuple[str, Callable[[Path], Any], str]] = [
    ("client.json", lambda path: path.write_text('{"mcpServers": {}}'), "`mcp-status check --from {path}` checks"),
    ("mcp.json", lambda path: path.write_text('{"servers": {"a": {"url": "http://h/"}}}'), "check --from {path}"),
    ("server.json", lambda path: path.write_text('{"name": "x", "remotes": []}'), "`mcp-status config import {path}`"),
    ("plan.yaml", lambda path: path.write_text("scenarios: {}"), "`mcp-status bench run {path}` plays it"),
    ("tab.yaml", lambda path: path.write_text("servers:\n\t- name: a\n"), ":2:1: indented with a tab"),
    ("empty.yaml", Path.touch, "{path}: empty; a configuration begins with"),
    ("folder", Path.mkdir, "{path}: a folder; name the configuration in it"),
    ("history.db", of_sqlite, "{path}: a SQLite database, no configuration; --db names the history"),
]


@pytest.mark.parametrize(("name", "make", "said"), OTHERS, ids=[name for name, _, _ in OTHERS])
def test_file_of_another_kind_is_recognised(
    status: Status, tmp_path: Path, name: str, make: Callable[[Path], Any], said: str
) -> None:
    path = tmp_path / name
    make(path)
    for command in (["check"], ["config", "validate"]):
        done = (
            status(*command, path, "--db", tmp_path / "unused.db") if command == ["check"] else status(*command, path)
        )
        assert done.returncode == 3
        assert said.format(path=path) in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_address_and_plan_in_the_place_of_each_other_are_recognised(status: Status, tmp_path: Path) -> None:
    assert "`mcp-status check ADDRESS` checks it" in status("config", "validate", "https://h/mcp").stderr
    assert "`mcp-status bench quick ADDRESS` puts load on it" in status("bench", "run", "https://h/mcp").stderr
    (tmp_path / "client.json").write_text(json.dumps({"mcpServers": {}}))
    assert "the file of an MCP client" in status("bench", "run", tmp_path / "client.json").stderr


def test_summary_names_the_environments(status: Status) -> None:
    done = status("config", "validate", "config/full.yaml")
    assert re.fullmatch(
        r"config/full.yaml: valid, and in development, staging, production; servers: 3, probes: .*\n", done.stdout
    )
