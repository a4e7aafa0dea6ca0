"""The wheel: what is in it, and that it starts where nothing else of the project is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
UV = (sys.executable, "-m", "uv")
"""Installs as pip does, in a tenth of the time."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    base = folder / "base.cfg"  # what was built in the folder of the project may be of files that are gone
    base.write_text(f"[build]\nbuild_base = {folder / 'build'}\n")
    command = [*UV, "build", "-q", "--wheel", "--out-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "DIST_EXTRA_CONFIG": str(base)})
    (built,) = folder.glob("*.whl")
    return built


def test_wheel_holds_the_three_packages_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"checker", "storage", "reports"}
    source = {
        str(file.relative_to(ROOT))
        for package in ("checker", "storage", "reports")
        for file in (ROOT / package).rglob("*.py")
    }
    assert source == {name for name in names if name.endswith(".py")}, "a package is not listed in pyproject.toml"
    pages = {f"checker/docs/{file.name}" for ending in ("md", "json") for file in (ROOT / "docs").glob(f"*.{ending}")}
    assert pages <= set(names), "`mcp-status docs` prints them"


def test_wheel_starts_in_a_fresh_environment(wheel: Path, tmp_path: Path) -> None:
    """With the dependencies only: no dev package, no checkout."""
    venv = tmp_path / "venv"
    subprocess.run([*UV, "venv", "-q", "--python", sys.executable, str(venv)], check=True)
    subprocess.run([*UV, "pip", "install", "-q", "--python", str(venv), str(wheel)], check=True, capture_output=True)
    for command in (["mcp-status", "--help"], ["python", "-m", "checker", "--help"]):
        done = subprocess.run(
            [str(venv / "bin" / command[0]), *command[1:]], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert "Check the health of MCP servers and REST services" in done.stdout
    check = [str(venv / "bin/mcp-status"), "check", "--rest", "http://127.0.0.1:9/", "--db", "h.db", "--format", "csv"]
    done = subprocess.run(check, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, "connect_refused" in done.stdout) == (2, True), done.stderr
    selftest = [str(venv / "bin/mcp-status"), "selftest", "--format", "csv"]
    done = subprocess.run(selftest, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_lock_has_every_package_that_is_named_with_hashes_and_no_place_to_get_it_from() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [*project["dependencies"], *(one for name in ("codings", "dev") for one in extras(project, name))]
    wanted = {re.split(r"[>=;\[ ]", line)[0].lower().replace("_", "-").replace(".", "-") for line in named}
    lock = (ROOT / "requirements-dev.lock").read_text()
    locked = dict(re.findall(r"^([a-z0-9-]+)==\S+.*\\\n +--hash=(sha256:[0-9a-f]{64})", lock, re.MULTILINE))
    assert wanted - {"mcp-status-check"} - locked.keys() == set(), "run scripts/lock"
    assert "://" not in lock


def extras(project: dict[str, Any], name: str) -> list[str]:
    found: list[str] = project["optional-dependencies"][name]
    return found
