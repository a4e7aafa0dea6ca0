"""Rules about the code that a reader may rely on: who imports whom, what a folder is for, what is published."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from checker.model import Reason

ROOT = Path(__file__).resolve().parent.parent
MODULES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
    for package in ("checker", "storage", "reports")
    for file in sorted((ROOT / package).rglob("*.py"))
}

HOMES = {
    "click": ("checker.cli",),
    "rich": ("reports.terminal",),
    "csv": ("reports.render",),
    "yaml": ("checker.settings",),
    "pydantic": ("checker.settings",),
    "pydantic_core": ("checker.units", "checker.structs"),
    "gevent": ("checker.worker", "checker.bench.worker", "checker.patching"),
    "urllib3": ("checker.worker.transport", "checker.importers.judged"),
    "httptools": ("checker.worker.transport", "checker.bench.worker"),
    "sqlalchemy": ("storage",),
    "sqlite3": ("storage.driver",),
    "pysqlite3": ("storage.driver",),
    "platformdirs": ("storage.driver",),
    "psutil": ("checker.resources",),
    "authlib": ("checker.probes.oauth",),
    "cryptography": ("checker.worker", "checker.settings.sealed"),
    "joserfc": ("checker.probes.oauth",),
    "requests": ("checker.importers",),
    "detect_secrets": ("checker.importers.secrets",),
    "jsonschema_rs": ("checker.probes.mcp",),
    "jsonpath": ("checker.probes.jsonpaths",),
    "re2": ("checker.probes.patterns", "checker.secrets.folded"),
    "jinja2": ("reports",),
    "markupsafe": ("reports",),
    "matplotlib": ("reports.charts",),
    "numpy": ("reports", "storage.rollups", "checker.bench"),
    "scipy": ("reports.stats",),
}
"""Package -> the modules that may import it: third-party ones, and what writes a form that must be written safely."""

FORBIDDEN = {
    "storage": (
        "checker.cli",
        "checker.run",
        "checker.runner",
        "checker.worker",
        "checker.probes",
        "checker.settings",
        "checker.bench.worker",
        "reports",
    ),
    "reports": (
        "checker.cli",
        "checker.run",
        "checker.runner",
        "checker.worker",
        "checker.probes",
        "checker.settings",
        "checker.bench.worker",
        "sqlalchemy",
    ),
    "checker.probes": (
        "checker.worker",
        "checker.settings",
        "checker.run",
        "checker.runner",
        "checker.cli",
        "storage",
        "reports",
    ),
    "checker.worker": (
        "checker.settings",
        "checker.run",
        "checker.runner",
        "checker.child",
        "checker.cli",
        "storage",
        "reports",
    ),
    "checker.settings": ("checker.worker", "checker.run", "checker.runner", "checker.cli", "storage", "reports"),
    "checker.run": ("checker.cli", "checker.worker"),
    "checker.runner": ("checker.cli", "checker.worker", "storage", "reports"),
    "checker.judge": ("checker.worker", "storage", "reports"),
    "checker.bench": (
        "checker.settings",
        "checker.run",
        "checker.cli",
        "checker.load_test",
        "storage.tables",
        "storage.store",
        "reports",
    ),
    "checker.bench.worker": ("checker.child", "checker.runner"),
    "checker.model": ("checker.probes", "checker.judge", "storage", "reports"),
}
"""Module or package -> what it must not import."""


@cache
def imports(file: Path) -> frozenset[str]:
    """Everything a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
    return frozenset(found)


def calls(file: Path) -> set[str]:
    """The plain names that a file calls."""
    nodes = ast.walk(ast.parse(file.read_text()))
    return {node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


@pytest.mark.parametrize("package", HOMES)
def test_third_party_package_has_one_home(package: str) -> None:
    strays = [
        module
        for module, file in MODULES.items()
        if any(within(name, package) for name in imports(file))
        and not any(within(module, home) for home in HOMES[package])
    ]
    assert strays == []


@pytest.mark.parametrize("package", FORBIDDEN)
def test_imports_point_one_way(package: str) -> None:
    strays = [
        (module, name)
        for module, file in MODULES.items()
        if within(module, package)
        for name in imports(file)
        if any(within(name, forbidden) for forbidden in FORBIDDEN[package])
    ]
    assert strays == []


def test_class_name_means_one_thing() -> None:
    places: dict[str, list[str]] = {}
    for module, file in MODULES.items():
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name.lstrip("_"), []).append(module)
    assert {name: modules for name, modules in places.items() if len(modules) > 1} == {}


def test_nothing_imports_the_command_line_but_its_entry() -> None:
    users = {module for module, file in MODULES.items() if any(within(name, "checker.cli") for name in imports(file))}
    assert {module for module in users if not within(module, "checker.cli")} == {"checker.__main__"}


def test_only_the_worker_entry_patches() -> None:
    assert [module for module, file in MODULES.items() if "patch_all" in file.read_text()] == ["checker.patching"]
    assert [module for module, file in MODULES.items() if "checker.patching" in imports(file)] == [
        "checker.bench.worker.__main__",
        "checker.worker.__main__",
    ]


def test_what_is_printed_goes_through_the_doors_that_keep_it_text() -> None:
    """`checker.plain_stream` and `reports.terminal` clean what is printed; nothing writes past them."""
    past_them = ("sys.__stdout__", "sys.__stderr__", "stdout.buffer", "stderr.buffer", "os.write(1", "os.write(2")
    doors = ("checker.plain_stream", "reports.terminal")
    assert [
        (module, word)
        for module, file in MODULES.items()
        for word in (*past_them, "stream.behind", "import behind", "markup=True", "Text.from_markup", "basicConfig(")
        if module not in doors and word in file.read_text()
    ] == []
    printing = [module for module, file in MODULES.items() if "print" in calls(file)]
    assert printing == ["checker.bench.echo"], "whose reader is the parent, not a person"


@pytest.mark.parametrize("module", ["checker", "checker.cli.root", "checker.child", "checker.wire", "checker.model"])
def test_importing_loads_nothing_that_a_worker_must_patch(module: str) -> None:
    heavy = ("ssl", "urllib3", "requests", "gevent", "sqlalchemy", "numpy", "scipy", "matplotlib", "pydantic")
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_worker_loads_neither_settings_nor_storage() -> None:
    code = "import runpy, sys; runpy.run_module('checker.worker', run_name='x'); print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(ast.literal_eval(done.stdout))
    assert loaded.isdisjoint(
        {"pydantic", "yaml", "sqlalchemy", "click", "rich", "storage", "reports", "numpy", "scipy"}
    )


@pytest.mark.parametrize("module", MODULES)
def test_file_is_a_small_room_with_a_docstring(module: str) -> None:
    tree = ast.parse(MODULES[module].read_text())
    assert ast.get_docstring(tree), "the docstring says what the file does"
    assert len(MODULES[module].read_text().splitlines()) <= 600


def test_published_schema_knows_every_reason() -> None:
    schema = json.loads((ROOT / "docs" / "check.schema.json").read_text())
    assert schema["$defs"]["check"]["properties"]["reason"]["enum"] == [None, *(reason.value for reason in Reason)]


def test_reasons_are_documented() -> None:
    text = (ROOT / "docs" / "statuses.md").read_text()
    assert [reason.value for reason in Reason if f"`{reason.value}`" not in text] == []


def test_dependencies_are_explained() -> None:
    import tomllib

    page = (ROOT / "docs" / "dependencies.md").read_text()
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = [line.partition(";")[0].partition(">")[0].strip() for line in listed]
    assert [name for name in names if f"| {name} |" not in page] == []
