"""Rules about the code that a reader may rely on: who imports whom, what a folder is for, what is published."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from checker.model import Reason
from checker.probes.libraries import libraries
from checker.settings.adhoc import adhoc
from servers import RestServer

ROOT = Path(__file__).resolve().parent.parent
MODULES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
    for package in ("checker", "storage", "reports")
    for file in sorted((ROOT / package).rglob("*.py"))
}

HOMES = {
    "click": ("checker.cli",),
    "rich": ("reports.terminal", "reports.text_tables"),
    "csv": ("reports.rows_as_text",),
    "yaml": ("checker.settings",),
    "pydantic": ("checker.settings",),
    "pydantic_core": ("checker.units", "checker.structs"),
    "gevent": ("checker.worker", "checker.loadtest.worker", "checker.processes.monkey_patching"),
    "urllib3": ("checker.worker.transport", "checker.importers.fetch"),
    "httptools": ("checker.worker.transport", "checker.loadtest.worker"),
    "sqlalchemy": ("storage",),
    "sqlite3": ("storage.sqlite_driver",),
    "pysqlite3": ("storage.sqlite_driver",),
    "platformdirs": ("storage.sqlite_driver",),
    "psutil": ("checker.run.resource_use",),
    "authlib": ("checker.probes.oauth",),
    "cryptography": ("checker.worker", "checker.settings.config_cache", "checker.selftest.loopback"),
    "joserfc": ("checker.probes.oauth",),
    "requests": ("checker.importers",),
    "detect_secrets": ("checker.settings.import_file",),
    "jsonschema_rs": ("checker.probes.mcp",),
    "jsonpath": ("checker.probes.jsonpaths",),
    "re2": ("checker.probes.patterns", "checker.secrets.redactor"),
    "jinja2": ("reports",),
    "markupsafe": ("reports",),
    "matplotlib": ("reports.charts",),
    "numpy": ("reports", "storage.rollups", "checker.loadtest", "checker.stats"),
    "scipy": ("checker.stats",),
    "pandas": ("checker.api.past",),
    "cloudpickle": ("checker.probes.functions",),
}
"""Package -> the modules that may import it: third-party ones, and what writes a form that must be written safely."""

BASE = (
    "checker.ad_hoc_names",
    "checker.addresses",
    "checker.clock",
    "checker.errors",
    "checker.late_patterns",
    "checker.lean_start",
    "checker.probe_kinds",
    "checker.probe_packages",
    "checker.limits",
    "checker.maintenance_windows",
    "checker.metrics",
    "checker.messages",
    "checker.model",
    "checker.untrusted_text",
    "checker.named_query",
    "checker.result_rows",
    "checker.structs",
    "checker.units",
    "checker.version",
    "checker.wire",
)
"""Records, units and rules that everybody may use: the bottom layer."""
LOAD_TEST_RECORDS = (
    "checker.loadtest.arrivals",
    "checker.loadtest.bottleneck",
    "checker.loadtest.protocols",
    "checker.loadtest.plan",
    "checker.loadtest.planning",
    "checker.loadtest.results",
    "checker.loadtest.summary",
    "checker.loadtest.thresholds",
)
"""Load tests as plans and results: without processes, connections or files."""
SECRETS, PROBES = (
    ("checker.secrets", "checker.cache_keys"),
    ("checker.probes", "checker.judge", "checker.breaker", "checker.missing_results"),
)
STREAMS, STATS = "checker.standard_streams", "checker.stats"
LOG = "checker.log_lines"

ALLOWED: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(BASE, BASE),
    STATS: (),
    "checker.secrets": BASE,
    "checker.cache_keys": (*BASE, "checker.secrets"),
    STREAMS: BASE,
    LOG: (*BASE, "checker.secrets"),
    "checker.contract": (*BASE, "checker.secrets"),
    "checker.probes": (*BASE, *SECRETS, "checker.contract"),
    "checker.judge": (*BASE, "checker.probes"),
    "checker.breaker": (*BASE, "checker.probes"),
    "checker.missing_results": (*BASE, "checker.probes"),
    "checker.importers": (*BASE, *SECRETS, "checker.probes"),
    **dict.fromkeys(LOAD_TEST_RECORDS, (*BASE, STATS, "checker.probes", *LOAD_TEST_RECORDS)),
    "checker.settings": (*BASE, *SECRETS, "checker.probes", "checker.importers", *LOAD_TEST_RECORDS),
    "storage": (
        *BASE,
        STATS,
        "checker.cache_keys",
        "checker.contract",
        "checker.breaker",
        "checker.missing_results",
        *LOAD_TEST_RECORDS,
    ),
    "reports": (*BASE, STATS, STREAMS, "checker.contract", *LOAD_TEST_RECORDS, "storage"),
    "checker.processes": BASE,
    "checker.worker": (*BASE, *SECRETS, *PROBES, LOG, "checker.processes"),
    "checker.run": (*BASE, *SECRETS, *PROBES, "checker.processes", "storage"),
    "checker.selftest": (*BASE, "storage"),
    "checker.loadtest": (*BASE, STATS, *PROBES, *LOAD_TEST_RECORDS, "checker.processes", "storage"),
    "checker.loadtest.worker": (
        *BASE,
        *SECRETS,
        *PROBES,
        LOG,
        *LOAD_TEST_RECORDS,
        "checker.loadtest",
        "checker.processes",
        "checker.worker",
    ),
    "checker.cli": (
        *BASE,
        *SECRETS,
        STATS,
        STREAMS,
        LOG,
        "checker.contract",
        "checker.importers",
        *LOAD_TEST_RECORDS,
        "checker.settings",
        "storage",
        "reports",
        "checker.run",
        "checker.loadtest",
        "checker.selftest",
    ),
    "checker.api": (
        *BASE,
        *SECRETS,
        *PROBES,
        STATS,
        *LOAD_TEST_RECORDS,
        "checker.settings",
        "checker.processes",
        "storage",
        "reports",
        "checker.run",
        "checker.loadtest",
    ),
    "checker.__main__": ("checker.cli", "checker.lean_start", "checker.processes"),
    "checker": (),
}
"""Package -> the packages that it may import beside itself, from the bottom up; docs/architecture.md has the drawing.

A module that is listed counts as a package of its own. An import that is not listed fails.
"""


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


def own_imports(module: str) -> set[str]:
    """The modules of the project that a module imports, wherever in it: lazily and for types too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{name.name}" for name in node.names}
            found |= names & MODULES.keys() if names <= MODULES.keys() else {node.module, *names}
    return (found & MODULES.keys()) - {module}


def package_of(module: str) -> str:
    return max((package for package in ALLOWED if within(module, package)), key=len)


@pytest.mark.parametrize("package", ALLOWED)
def test_package_imports_only_what_it_may(package: str) -> None:
    strays = [
        (module, name)
        for module in MODULES
        if package_of(module) == package
        for name in own_imports(module)
        if package_of(name) not in (package, *ALLOWED[package])
    ]
    assert strays == []


def test_listed_packages_exist() -> None:
    assert set(ALLOWED) - {package_of(module) for module in MODULES} == set()


def test_no_module_imports_itself_by_way_of_others() -> None:
    """Raises CycleError, which names the modules, for imports that go in a circle."""
    TopologicalSorter({module: own_imports(module) - _packages_of(module) for module in MODULES}).prepare()


def _packages_of(module: str) -> set[str]:
    """The packages that a module is in: importing it imports them, and their files may import it."""
    parts = module.split(".")
    return {".".join(parts[:length]) for length in range(1, len(parts))}


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
    assert [module for module, file in MODULES.items() if "patch_all" in file.read_text()] == [
        "checker.processes.monkey_patching"
    ]
    assert [module for module, file in MODULES.items() if "checker.processes.monkey_patching" in imports(file)] == [
        "checker.loadtest.worker.__main__",
        "checker.worker.__main__",
    ]


def test_what_is_printed_goes_through_the_doors_that_keep_it_text() -> None:
    """Standard streams, log lines and two modules of reports clean what is printed; nothing writes past them."""
    past_them = ("sys.__stdout__", "sys.__stderr__", "stdout.buffer", "stderr.buffer", "os.write(1", "os.write(2")
    doors = ("checker.standard_streams", "checker.log_lines", "reports.terminal", "reports.text_tables")
    assert [
        (module, word)
        for module, file in MODULES.items()
        for word in (*past_them, "stream.behind", "import behind", "markup=True", "Text.from_markup", "basicConfig(")
        if module not in doors and word in file.read_text()
    ] == []
    printing = [module for module, file in MODULES.items() if "print" in calls(file)]
    assert printing == ["checker.loadtest.echo"], "whose reader is the parent, not a person"


@pytest.mark.parametrize(
    "module", ["checker", "checker.cli.root", "checker.processes.child", "checker.wire", "checker.model"]
)
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
    assert loaded.isdisjoint({"importlib.metadata", "zipfile", "ctypes"})


def loaded_by(code: str, *arguments: str) -> set[str]:
    """The modules that an interpreter has loaded once it has run the code."""
    command = [sys.executable, "-c", f"import sys\n{code}\nprint(list(sys.modules))", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return set(ast.literal_eval(done.stdout.splitlines()[-1]))


def test_worker_loads_only_what_its_servers_need() -> None:
    """The others come with the message that begins a run (`checker.probes.libraries`)."""
    loaded = loaded_by("import runpy; runpy.run_module('checker.worker', run_name='x')")
    assert not [name for name in loaded if within(name, "checker.probes.mcp")]
    assert loaded.isdisjoint({"zoneinfo", "cryptography", "authlib", "jsonschema_rs", "re2", "jsonpath"})


def test_servers_name_the_modules_that_their_checks_need() -> None:
    servers = (adhoc({"rest": "http://127.0.0.1:9/"}), adhoc({"mcp": "http://127.0.0.1:9/"}))
    assert libraries(servers[:1]) == ("checker.probes.rest",)
    assert {"checker.probes.rest", "checker.probes.mcp"} <= set(libraries(servers))


def test_usual_configuration_loads_no_validator_and_no_kind_that_it_does_not_use(tmp_path: Path) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text(
        "defaults: {rest: {timeout: 5s}}\nrun: {workers: 2, pace: {jitter: 10ms}}\n"
        "servers:\n  - {name: a, tags: [x], rest: {url: http://127.0.0.1:9/, expect: {status: [200]}}}\n"
    )
    loaded = loaded_by("from checker.settings.load import load; load(sys.argv[1])", str(file))
    assert not [name for name in loaded if within(name, "checker.probes.mcp")]
    assert loaded.isdisjoint({"pydantic", "pydantic_core", "difflib", "zoneinfo", "sqlalchemy"})


def test_help_loads_next_to_nothing() -> None:
    code = "from checker.cli import cli; sys.argv = ['mcp-status', '--help']; assert cli() == 0"
    assert loaded_by(code).isdisjoint({"msgspec", "sqlalchemy", "rich", "yaml", "psutil", "orjson", "zoneinfo"})


def test_checks_load_neither_numpy_nor_the_validator() -> None:
    code = "import sys, checker.cli.check, checker.run.run, storage.store, storage.history, reports.check_documents"
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"{code}; print([name for name in ('numpy', 'pydantic', 'yaml') if name in sys.modules])",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_whole_check_loads_no_sqlalchemy(tmp_path: Path) -> None:
    """Neither the run that makes the database, nor the next, nor a result that is taken from the cache."""
    with RestServer() as server:
        file = tmp_path / "fleet.json"
        file.write_text(json.dumps({"servers": [{"name": "one", "rest": server.url()}]}))
        for more in ([], [], ["--max-age", "1h"], ["--format", "json"]):
            code = (
                "from checker.cli import cli; sys.argv = ['mcp-status', *sys.argv[1:]]; "
                "sys.stdout = open('/dev/null', 'w'); assert cli() == 0; sys.stdout = sys.__stdout__"
            )
            loaded = loaded_by(code, "check", str(file), "--db", str(tmp_path / "h.db"), *more)
            assert loaded.isdisjoint({"sqlalchemy", "numpy", "pydantic", "asyncio", "storage.tables", "rich"})


@pytest.mark.parametrize("report", ["availability", "incidents", "latency", "trends"])
def test_report_loads_no_sqlalchemy(tmp_path: Path, report: str) -> None:
    path = tmp_path / "h.db"
    with RestServer() as server:
        file = tmp_path / "fleet.json"
        file.write_text(json.dumps({"servers": [{"name": "one", "rest": server.url()}]}))
        subprocess.run([sys.executable, "-m", "checker", "check", file, "--db", path], capture_output=True, check=True)
    code = (
        "from checker.cli import cli; sys.argv = ['mcp-status', *sys.argv[1:]]; "
        "sys.stdout = open('/dev/null', 'w'); assert cli() == 0; sys.stdout = sys.__stdout__"
    )
    loaded = loaded_by(code, "report", report, "--db", str(path))
    assert "reports.output_forms" in loaded
    assert loaded.isdisjoint({"sqlalchemy", "pydantic", "scipy", "matplotlib", "storage.tables"})


@pytest.mark.parametrize("module", MODULES)
def test_file_is_small_and_has_a_docstring(module: str) -> None:
    tree = ast.parse(MODULES[module].read_text())
    assert ast.get_docstring(tree), "the docstring says what the file does"
    assert len(MODULES[module].read_text().splitlines()) <= 600


def test_published_schema_knows_every_reason() -> None:
    schema = json.loads((ROOT / "docs" / "check.schema.json").read_text())
    assert schema["$defs"]["check"]["properties"]["reason"]["enum"] == [None, *(reason.value for reason in Reason)]


def test_reasons_are_documented() -> None:
    text = (ROOT / "docs" / "statuses.md").read_text()
    assert [reason.value for reason in Reason if f"`{reason.value}`" not in text] == []


def test_check_of_one_kind_imports_no_other() -> None:
    code = (
        "import sys; from checker.settings.adhoc import adhoc; adhoc({'rest': 'http://127.0.0.1:9/'}); "
        "print([name for name in sys.modules if name.startswith('checker.probes.mcp')])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_reports_import_no_probe() -> None:
    code = (
        "import sys, reports.latency, reports.recommendations, reports.site.site_data, reports.check_documents; "
        "print([name for name in sys.modules if name.startswith(('checker.probes', 'checker.worker'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_kinds_of_probes_are_listed_in_their_registry_alone() -> None:
    """`checker.probe_kinds` has the list; a legacy configuration knows the two that there were."""
    lists = [
        module
        for module, file in MODULES.items()
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, (ast.Tuple, ast.List, ast.Set, ast.Dict))
        and {"mcp", "rest"}
        <= {
            one.value
            for one in (node.keys if isinstance(node, ast.Dict) else node.elts)
            if isinstance(one, ast.Constant)
        }
    ]
    assert lists == ["checker.probe_kinds", "checker.settings.legacy"]


def test_dependencies_are_explained() -> None:
    import tomllib

    page = (ROOT / "docs" / "dependencies.md").read_text()
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = [line.partition(";")[0].partition(">")[0].strip() for line in listed]
    assert [name for name in names if f"| {name} |" not in page] == []


def test_fields_of_structs_are_those_of_msgspec() -> None:
    """`dataclasses.field` would be the default itself, and neither mypy nor msgspec says so."""
    structs = {
        module
        for module, file in MODULES.items()
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ClassDef) and any(keyword.arg == "frozen" for keyword in node.keywords)
    }
    assert len(structs) > 20
    assert [module for module in sorted(structs) if "dataclasses.field" in imports(MODULES[module])] == []
