"""What the documents say is so: queries run, examples load, generated parts are fresh."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from checker.settings.load import load
from checker.settings.named_queries import saved_queries
from histories import told_history
from storage.named_queries import QUESTIONS
from storage.sql import ask

ROOT = Path(__file__).resolve().parent.parent
SQL = (ROOT / "docs" / "sql.md").read_text()
QUERIES = re.findall(r"```sql\n(.*?)```", SQL, re.DOTALL)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("docs") / "history.db"
    told_history(path)
    return path


@pytest.mark.parametrize("query", QUERIES)
def test_documented_query_finds_something(told: Path, query: str) -> None:
    built_in = [one for one in QUESTIONS.values() if one.sql.strip() == query.strip()]
    with ask(told, query, 20.0, built_in[0].params if built_in else {}) as answer:
        assert list(answer.rows)


def test_document_has_every_built_in_query_word_for_word_under_its_name() -> None:
    sections = dict(re.findall(r"^### (\w+)\n.*?```sql\n(.*?)```", SQL, re.DOTALL | re.MULTILINE))
    assert sections == {name: f"{query.sql.strip()}\n" for name, query in QUESTIONS.items()}


def test_example_of_saved_queries_can_be_asked(tmp_path: Path, told: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", SQL, re.DOTALL)
    (tmp_path / "fleet.yaml").write_text(example)
    for query in saved_queries(tmp_path / "fleet.yaml", None, {}).values():
        with ask(told, query.sql, 20.0, {**query.params, "group": "shop"} if query.params else {}) as answer:
            assert list(answer.rows)


def test_example_in_the_readme_loads(tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (example,) = (block for block in blocks if "servers:" in block)
    (tmp_path / "fleet.yaml").write_text(example)
    (one,) = load(tmp_path / "fleet.yaml", None, {"SEARCH_TOKEN": "x"}).servers
    assert set(one.probes) == {"mcp", "rest"}
    for block in blocks:
        servers = "servers: [{name: a, rest: 'http://h/'}]\n" if block != example else ""
        (tmp_path / "part.yaml").write_text(block + servers)
        assert load(tmp_path / "part.yaml", None, {"SEARCH_TOKEN": "x"}).servers


@pytest.mark.parametrize("script", ["config_schema", "views_page", "schema_sql", "sql_questions"])
def test_generated_file_is_fresh(script: str) -> None:
    if script == "config_schema" and tuple(map(int, version("pydantic").split(".")[:2])) < (2, 13):
        pytest.skip("older pydantic leaves descriptions out beside a reference; what it accepts is the same")
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / script), "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


PAGES = [*(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"))]
PAGES += sorted((ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_and_headings_that_are_linked_exist(page: Path) -> None:
    for target, heading in re.findall(r"\]\(([\w./-]*)(?:#([\w-]+))?\)", page.read_text()):
        linked = page.parent / target if target else page
        assert linked.exists(), f"{page.name} links {target}"
        if heading:
            assert heading in headings(linked), f"{page.name} links {target}#{heading}"


def headings(page: Path) -> set[str]:
    """The names that GitHub gives to a page's headings."""
    found = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}


def test_index_by_task_has_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    assert [page.name for page in (ROOT / "docs").glob("*.*") if f"({page.name})" not in index] == ["README.md"]


def test_readme_stays_short() -> None:
    assert len((ROOT / "README.md").read_bytes()) <= 14 * 1024
