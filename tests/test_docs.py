"""What the documents say is so: queries run, examples load, generated parts are fresh."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from builders import batch, check, run_info, server
from checker.settings import load
from storage.sql import ask
from storage.store import open_store

ROOT = Path(__file__).resolve().parent.parent
QUERIES = re.findall(r"```sql\n(.*?)```", (ROOT / "docs" / "sql.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("query", QUERIES)
def test_documented_query_runs(tmp_path: Path, query: str) -> None:
    path = tmp_path / "history.db"
    with open_store(path) as store:
        store.write(store.begin_run(run_info(), [server()]), batch(check()))
    with ask(path, query, 5.0) as answer:
        list(answer.rows)
        assert answer.columns


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


@pytest.mark.parametrize("script", ["config_schema", "readme_views"])
def test_generated_file_is_fresh(script: str) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / script), "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_files_that_are_linked_exist() -> None:
    for document in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        for target in re.findall(r"\]\(([\w./-]+)\)", (ROOT / document).read_text()):
            assert (ROOT / target).exists(), f"{document} links {target}"
