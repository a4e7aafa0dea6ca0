"""`mcp-status docs`, and that no help ends in the middle or names a file that is not installed."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from checker.cli.doc_pages import topics
from checker.cli.root import group

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
Run = Callable[..., subprocess.CompletedProcess[Any]]


def test_every_page_is_a_topic_that_says_what_is_in_it(status: Run) -> None:
    listed = json.loads(status("docs", "--format", "json").stdout)
    files = [*DOCS.glob("*.md"), *DOCS.glob("*.json")]
    assert [one["topic"] for one in listed] == sorted(file.stem for file in files if file.name != "README.md")
    assert [one for one in listed if not 10 < len(one["words"]) < 250 or one["words"].startswith(("#", "<", "["))] == []


def test_page_is_printed_as_it_is(status: Run) -> None:
    text = (DOCS / "sql.md").read_text()
    for name in ("sql", "sql.md", "docs/sql.md", "SQL"):
        assert status("docs", name).stdout == text
    assert 'no page "slq"; did you mean "sql"?' in status("docs", "slq").stderr


def commands(command: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with the words that call it."""
    yield words, command
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            inner = command.get_command(click.Context(command), name)
            assert inner is not None
            yield from commands(inner, (*words, name))


def test_no_help_is_cut_or_names_what_is_not_installed() -> None:
    pages, seen = topics(), 0
    for words, command in commands(group):
        text = command.get_help(click.Context(command, info_name="mcp-status", terminal_width=80))
        cut = re.findall(r"^ .*\w(?:\.\.\.|…)$", text, re.MULTILINE)
        assert cut == [], words
        assert not re.search(r"(?<!status )docs/|\bconfig/\w+\.yaml|scripts/", text), words
        for page in re.findall(r"`?mcp-status docs (\w[\w-]*)`", " ".join(text.split())):
            assert page in pages, (words, page)
            seen += 1
    assert seen >= 4
