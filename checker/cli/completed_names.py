"""What can stand in the place of an argument: names of servers, tags, queries, load tests, for completion in a shell.

Nothing here may fail or print: a shell shows what comes as part of the line. Configurations are read as YAML alone,
without secrets, and a history is only read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from checker.untrusted_text import terminal

if TYPE_CHECKING:
    import click
    from click.shell_completion import CompletionItem

Complete = Callable[["click.Context", "click.Parameter", str], "list[CompletionItem]"]
_MOST = 1000
LINE = "_MCP_STATUS_LINE"
"""The variable with the command line up to the cursor."""
_OF_CONFIGURATIONS = (".yaml", ".yml", ".json")


def _completer(find: Callable[[click.Context], Iterable[str | tuple[str, str]]]) -> Complete:
    """The completions of an argument, from the function that finds all of them, with or without a description."""

    def complete(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        found: dict[str, str | None] = {}
        with suppress(Exception):  # a broken file or history has no names, and this is no place to tell why
            for one in find(ctx):
                value, words = (one, None) if isinstance(one, str) else one
                if value.startswith(incomplete) and value == terminal(value) and len(found) < _MOST:
                    found.setdefault(value, words)
        return [CompletionItem(value, help=words) for value, words in found.items()]

    return complete


def files_only(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Files, for an argument that may be something else too."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]


def _documents() -> Iterator[Mapping[str, Any]]:
    """The configuration that is named on the line, as far as it can be read.

    Where an option still waits for its value, click knows none of the arguments: the line itself is looked through.
    """
    from click.shell_completion import split_arg_string

    from checker.settings.yaml_document import read

    named = [word.rpartition("=")[2] for word in split_arg_string(os.environ.get(LINE, ""))]
    for word in [*named, os.environ.get("MCP_STATUS_CONFIG", "")]:
        if word.endswith(_OF_CONFIGURATIONS) and Path(word).is_file():
            yield read(Path(word)).values
            return


def _entries(ctx: click.Context) -> list[tuple[str, str, tuple[str, ...]]]:
    """Name, group and tags of the servers of the configuration, else of the history."""
    for values in _documents():
        of_all = values.get("defaults") or {}
        return [
            (
                str(one.get("name")),
                str(one.get("group", of_all.get("group", ""))),
                tuple(map(str, one.get("tags") or ())),
            )
            for one in values.get("servers") or ()
        ]
    import json

    rows = _rows(ctx, "select name, group_name, tags from servers order by retired_at_ms is not null, name")
    return [(name, group or "", tuple(json.loads(tags or "[]"))) for name, group, tags in rows]


def _rows(ctx: click.Context, query: str) -> list[tuple[Any, ...]]:
    from urllib.parse import quote

    from storage.sqlite_driver import default_path, driver

    path = ctx.params.get("db") or default_path(os.environ)
    with closing(
        driver().connect(f"file:{quote(str(Path(path).resolve()))}?mode=ro", uri=True, timeout=0.5)
    ) as connection:
        found: list[tuple[Any, ...]] = connection.execute(query).fetchall()
        return found


def _environments(_ctx: click.Context) -> list[str]:
    return [str(name) for values in _documents() for name in values.get("environments") or ()]


def _queries(_ctx: click.Context) -> Iterator[tuple[str, str]]:
    from storage.named_queries import QUESTIONS

    for values in _documents():
        for name, query in (values.get("queries") or {}).items():
            yield f"@{name}", str(query.get("description", "")) if isinstance(query, Mapping) else ""
    for name, question in QUESTIONS.items():
        yield f"@{name}", question.description


def _views(_ctx: click.Context) -> Iterator[tuple[str, str]]:
    from storage.views import described

    for one in described(None):
        yield str(one["view"]), f"a row is {one['row']}"


def _load_tests(ctx: click.Context) -> Iterator[tuple[str, str]]:
    for name, number in _rows(ctx, "select name, run_id from bench_baselines order by name"):
        yield str(name), f"baseline: load test {number}"
    yield "last", "the newest load test"
    for number, name in _rows(ctx, "select id, name from bench_runs order by id desc limit 50"):
        yield str(number), str(name)


def _topics(_ctx: click.Context) -> list[str]:
    from checker.cli.doc_pages import topics

    return list(topics())


def _cache_categories(ctx: click.Context) -> list[str]:
    return [str(row[0]) for row in _rows(ctx, "select distinct category from cache_entries order by category")]


servers = _completer(lambda ctx: [name for name, _, _ in _entries(ctx)])
groups = _completer(lambda ctx: sorted({group for _, group, _ in _entries(ctx) if group}))
tags = _completer(lambda ctx: sorted({tag for _, _, tags in _entries(ctx) for tag in tags}))
environments = _completer(_environments)
queries = _completer(_queries)
views = _completer(_views)
load_tests = _completer(_load_tests)
topics = _completer(_topics)
cache_categories = _completer(_cache_categories)
