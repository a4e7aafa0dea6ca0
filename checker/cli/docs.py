"""`mcp-status docs`: the pages of the documentation, as they are installed with the program."""

from __future__ import annotations

import sys
from difflib import get_close_matches

import click

from checker.cli import completed_names
from checker.cli.doc_pages import topics
from checker.cli.options import output_format
from checker.errors import UsageError


@click.command("docs")
@click.argument("topic", required=False, shell_complete=completed_names.topics)
@output_format
def command(topic: str | None, fmt: str) -> None:
    """Print the page TOPIC of the documentation; without one, list the pages.

    On a terminal pages go through $PAGER.

    \b
    mcp-status docs                    what there is
    mcp-status docs statuses           statuses and reasons
    mcp-status docs sql | grep -A9 p95
    """  # noqa: D301 # click wants the backspace itself
    pages = topics()
    if topic is None:
        _list(pages, fmt)
        return
    name = topic.removeprefix("docs/").lower()
    found = pages.get(name) or pages.get(name.removesuffix(".md").removesuffix(".json"))
    if found is None:
        close = get_close_matches(name, pages, n=1)
        meant = f'did you mean "{close[0]}"? ' if close else ""
        raise UsageError(f'no page "{topic}"; {meant}`mcp-status docs` lists them')
    if sys.stdout.isatty():
        click.echo_via_pager(found)
    else:
        sys.stdout.write(found)


def _list(pages: dict[str, str], fmt: str) -> None:
    from reports import rows_as_text, tables
    from reports.text_tables import TextOutput

    rows = [(name, _first_words(text)) for name, text in pages.items()]
    if fmt == "table":
        TextOutput(sys.stdout).table(tables.rows_table(("topic", "what is in it"), rows))
        return
    records = [{"topic": name, "words": words} for name, words in rows]
    sys.stdout.writelines(rows_as_text.answer(fmt, records, records, ("topic", "words"), rows))


def _first_words(page: str) -> str:
    """What a page is about: the first sentence below the heading of Markdown, or the title of a schema."""
    if page.startswith("{"):
        import json

        return str(json.loads(page).get("title", "a JSON Schema"))
    _, _, below = page.partition("\n# ")[2].partition("\n") if not page.startswith("# ") else page.partition("\n")
    paragraph = " ".join(below.strip().partition("\n\n")[0].split())
    return paragraph.partition(". ")[0].rstrip(".:")
