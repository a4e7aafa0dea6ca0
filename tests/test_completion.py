"""Completion in the shells that are here: each is driven over a terminal, as by a person who presses Tab."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import builders
from checker.model import Batch, RunState
from storage.store import open_store

Run = Callable[..., subprocess.CompletedProcess[Any]]
BIN = Path(sys.executable).parent
NAMES = ("search", "search (ad hoc)", "127.0.0.1:8000", "$(touch hacked)")
SHELLS = {
    "bash": (["--norc", "--noprofile", "-i"], 'PS1=">"; eval "$(mcp-status completion bash)"'),
    "zsh": (["-f", "-i"], 'PS1=">"; autoload -Uz compinit; compinit -D; eval "$(mcp-status completion zsh)"'),
}
SECONDS = 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a history and a configuration."""
    with open_store(tmp_path / "history.db") as store:
        run_id = store.begin_run(builders.run_info(), [builders.server(name) for name in NAMES])
        store.write(run_id, Batch(checks=tuple(builders.check(name) for name in NAMES)))
        store.finish_run(run_id, RunState.FINISHED, builders.AT_MS)
    servers = [{"name": "pay", "tags": ["eu:west", "prod"], "group": "shop", "rest": "http://${UNSET}/"}]
    environments = {"staging": {}}
    (tmp_path / "fleet.yaml").write_text(json.dumps({"servers": servers, "environments": environments}))
    return tmp_path


CASES = [
    ("mcp-status his", "mcp-status history"),
    ("mcp-status history 127.0.0.1:8", "mcp-status history 127.0.0.1:8000"),
    ("mcp-status history search\\ ", "mcp-status history|search (ad hoc)"),
    ("mcp-status history '$", "mcp-status history|$(touch hacked)"),
    ("mcp-status sql @availab", "mcp-status sql @availability"),
    ("mcp-status check fleet.yaml --tag eu:w", "mcp-status check fleet.yaml --tag eu:west"),
    ("mcp-status check fleet.yaml --server p", "mcp-status check fleet.yaml --server pay"),
    ("mcp-status check fleet.yaml -e st", "mcp-status check fleet.yaml -e staging"),
    ("mcp-status check fle", "mcp-status check fleet.yaml"),
    ("mcp-status check --fail-on-", "mcp-status check --fail-on-drift"),
]


@contextmanager
def at_terminal(shell: str, folder: Path) -> Iterator[Callable[[str], str]]:
    """A shell at a terminal; gives what types keys, and returns what the shell prints for the last line."""
    arguments, begin = SHELLS[shell]
    environment = {
        "PATH": f"{BIN}:/usr/bin:/bin",
        "HOME": str(folder),
        "TERM": "dumb",
        "MCP_STATUS_DB": str(folder / "history.db"),
    }
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [shell, *arguments],
        cwd=folder,
        stdin=child,
        stdout=child,
        stderr=child,
        env=environment,
        start_new_session=True,
    )
    os.close(child)

    def until(pattern: str) -> str:
        seen, ends_at = "", time.monotonic() + SECONDS
        while not re.search(pattern, seen):
            assert select.select([parent], [], [], max(0, ends_at - time.monotonic()))[0], f"{shell}: {seen!r}"
            seen += os.read(parent, 65536).decode(errors="replace")
        return seen

    def typed(keys: str) -> str:
        os.write(parent, f"{keys}\t".encode())
        os.write(parent, b"\x01printf '<%s>' \x05 '=end='\r")
        return until("<=end=>").rpartition("\n")[2]

    try:
        os.write(parent, f"{begin}; echo be''gun-\r".encode())
        until("begun-")
        yield typed
    finally:
        process.kill()
        process.wait()
        os.close(parent)


@pytest.mark.parametrize("shell", SHELLS)
def test_tab_completes_what_is_meant_and_the_shell_reads_it_back(folder: Path, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not here")
    with at_terminal(shell, folder) as typed:
        for keys, expected in CASES:
            words = re.findall("<(.*?)>", typed(keys))[:-1]
            before, _, last = expected.partition("|")
            assert words == [*before.split(), *([last] if last else [])], keys
    assert not (folder / "hacked").exists()


def test_fish_gets_names_with_their_descriptions(folder: Path) -> None:
    if shutil.which("fish") is None:
        pytest.skip("fish is not here")
    lines = [
        "mcp-status his",
        "mcp-status history 127",
        "mcp-status check fleet.yaml --tag ",
        "mcp-status sql @availab",
    ]
    asked = "; ".join(f"complete -C '{line}'" for line in lines)
    environment = {"PATH": f"{BIN}:/usr/bin:/bin", "HOME": str(folder), "MCP_STATUS_DB": str(folder / "history.db")}
    done = subprocess.run(
        ["fish", "-c", f"mcp-status completion fish | source; {asked}"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    *some, last = done.stdout.splitlines()
    assert some == ["history\tShow the past checks of one server.", "127.0.0.1:8000", "eu:west", "prod"]
    assert last.startswith("@availability\tHow available")


def completions(status: Run, folder: Path, line: str) -> list[list[str]]:
    environment = {"_MCP_STATUS_COMPLETE": "bash_complete", "_MCP_STATUS_LINE": line}
    done = status(env={**environment, "MCP_STATUS_DB": str(folder / "history.db")})
    assert (done.returncode, done.stderr) == (0, ""), line
    return [one.split("\t") for one in done.stdout.splitlines() if one]


def test_every_place_has_its_completions(status: Run, folder: Path) -> None:
    found = {
        line: [value for _, value, _ in completions(status, folder, f"mcp-status {line}")]
        for line in (
            "docs statu",
            "sql --schema latest_",
            "bench report ",
            "db forget sea",
            "config validate ",
            "report ",
        )
    }
    assert found["docs statu"] == ["statuses"]
    assert found["sql --schema latest_"] == ["latest_status"]
    assert found["bench report "] == ["last"]
    assert found["db forget sea"] == ["search", "search (ad hoc)"]
    assert found["config validate "] == [""], "a file"
    assert "availability" in found["report "]


def test_neither_a_broken_file_nor_a_missing_history_is_told_of_in_the_line(status: Run, folder: Path) -> None:
    (folder / "broken.yaml").write_text("servers: [")
    assert completions(status, folder, f"mcp-status check {folder}/broken.yaml --tag ") == []
    assert completions(status, folder / "none", "mcp-status history x") == []


def test_script_is_that_of_the_shell_in_use(status: Run) -> None:
    assert status("completion", env={"SHELL": "/usr/bin/fish"}).stdout == status("completion", "fish").stdout
    assert "which shell? name one of bash, zsh, fish" in status("completion", env={"SHELL": "/bin/csh"}).stderr
