"""Check functions as kinds of probes: of a program, by the library, and of a package, by its entry point."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from checker import probe_packages
from checker.api import (
    Benchmark,
    Checker,
    ConfigError,
    Degraded,
    History,
    ProbeContext,
    Unhealthy,
    UsageError,
    check,
    probe,
)
from checker.probe_kinds import KINDS, OPERATIONS, STAGES
from conftest import ROOT
from servers import RestServer, Scripted
from worker_template import forked_workers

LONG_ENOUGH = 3


@pytest.fixture(scope="module")
def rest() -> Iterator[RestServer]:
    paths = {"/slow": Scripted(delay_s=30.0), "/down": Scripted(status=500), "/flaky": Scripted(fail_first=2)}
    with RestServer(paths) as running:
        yield running


@pytest.fixture(scope="module")
def checker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checker]:
    with forked_workers(), Checker(tmp_path_factory.mktemp("own") / "history.db") as one:
        yield one


@pytest.fixture(autouse=True)
def registered(registry: None) -> None:
    """The kind of probe that these tests are about."""
    probe(depth)


def depth(probe: ProbeContext, limit: int = 100, queue: str = "default") -> object:
    """A queue that is not too long."""
    if probe.request().status != 200:
        raise Unhealthy(f"{queue} is away", "connection_closed")
    assert limit != 500, "five hundred"
    return Degraded(f"{queue} is long") if limit < LONG_ENOUGH else limit != 501


def one_check(checker: Checker, url: str, **options: Any) -> Any:
    """The only probe of a check by `depth`."""
    (found,) = checker.check([{"name": "jobs", "depth": {"url": url, **options}}])
    (probed,) = found.probes
    assert (found.status, found.detail, probed.kind) == (probed.status, probed.detail, "depth")
    return probed


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, ("HEALTHY", None, None)),
        ({"limit": 2, "queue": "mail"}, ("DEGRADED", "condition_failed", "mail is long")),
        ({"limit": 500}, ("UNHEALTHY", "condition_failed", "five hundred")),
        ({"limit": 501}, ("UNHEALTHY", "condition_failed", "the check function says no")),
    ],
)
def test_a_function_gets_its_options_and_says_what_it_found(
    checker: Checker, rest: RestServer, options: dict[str, Any], told: tuple[str, str | None, str | None]
) -> None:
    found = one_check(checker, rest.url(), **options)
    assert (found.status, found.reason, found.detail) == told
    assert (found.http_status, found.url) == (200, rest.url())
    assert "wait" in found.stages_us


def test_it_is_tried_again_as_configured(checker: Checker, rest: RestServer) -> None:
    retry = {"max_attempts": 4, "initial_backoff": "1ms"}
    found = one_check(checker, rest.url("/flaky"), retry=retry)
    assert (found.status, found.attempts) == ("HEALTHY", 3)
    assert found.earlier_reasons == "connection_closed,connection_closed"


def test_a_deadline_ends_it(checker: Checker, rest: RestServer) -> None:
    found = one_check(checker, rest.url("/slow"), timeout="200ms")
    assert (found.status, found.reason) == ("UNHEALTHY", "first_byte_timeout")

    def sleeps(probe: ProbeContext) -> None:
        import time

        time.sleep(30)

    (slept,) = checker.check([{"name": "sleeps", "timeout": 0.2}], probe=sleeps)
    assert (slept.reason, slept.detail) == ("deadline", "the check function did not return within 0.2 s")


def test_a_breaker_leaves_it_out(checker: Checker, rest: RestServer) -> None:
    breaker = {"failures": 2, "cooldown": "1h"}
    fleet = [{"name": "broken", "depth": {"url": rest.url("/down"), "breaker": breaker}}]
    assert [checker.check(fleet)["broken"].reason for _ in range(3)] == [
        "connection_closed",
        "connection_closed",
        "circuit_open",
    ]


def test_mistakes_of_a_function_are_told_apart_from_failures_of_a_server(checker: Checker, rest: RestServer) -> None:
    def named(probe: ProbeContext) -> None:
        undefined  # type: ignore[name-defined] # noqa: B018, F821 # the mistake

    def refused(probe: ProbeContext) -> None:
        import socket

        socket.create_connection(("127.0.0.1", 9), 1)

    def returns(probe: ProbeContext) -> int:
        return 5

    def stumbles(probe: ProbeContext) -> None:
        probe.request().json()["none"]

    found = {
        one.__name__: checker.check([rest.url()], probe=one).checks[0] for one in (named, refused, returns, stumbles)
    }
    assert {name: (check.status, check.reason) for name, check in found.items()} == {
        "named": ("UNKNOWN", "internal_error"),
        "refused": ("UNHEALTHY", "connect_refused"),
        "returns": ("UNKNOWN", "internal_error"),
        "stumbles": ("UNHEALTHY", "condition_failed"),
    }
    assert found["stumbles"].detail == "KeyError: 'none'"


def test_secrets_of_its_options_are_masked(checker: Checker, rest: RestServer) -> None:
    secret = "k9-Zq7vR2mXw81LpT"

    def tells(probe: ProbeContext, token: str) -> None:
        raise Unhealthy(f"refused {token}")

    (found,) = checker.check([{"name": "tells", "url": rest.url(), "token": secret}], probe=tells)
    assert found.status == "UNHEALTHY"
    assert secret not in (found.detail or "")


def test_servers_without_an_address_are_checked_by_name(checker: Checker) -> None:
    def disk(probe: ProbeContext) -> None:
        assert probe.url == ""

    assert {one.server: one.status for one in checker.check(["a", "b"], probe=disk)} == dict.fromkeys("ab", "HEALTHY")


def test_another_version_of_a_function_replaces_the_first(checker: Checker, rest: RestServer) -> None:
    for answer in (True, False):

        def version(probe: ProbeContext, answer: bool = answer) -> bool:
            return answer

        (found,) = checker.check([rest.url()], probe=version)
        assert found.status == ("HEALTHY" if answer else "UNHEALTHY")


@pytest.mark.parametrize(
    ("options", "key", "told"),
    [
        ({"limt": 3}, "servers[0].depth.limt", 'did you mean "limit"?'),
        ({"limit": "many"}, "servers[0].depth.limit", "write a whole number"),
        ({"url": "nowhere"}, "servers[0].depth.url", "scheme://host"),
        ({"retry": {"max_attempts": 0}}, "servers[0].depth.retry.max_attempts", "1"),
    ],
)
def test_faults_of_its_options_are_those_of_a_configuration(options: dict[str, Any], key: str, told: str) -> None:
    with pytest.raises(ConfigError) as raised:
        check([{"name": "a", "depth": {"url": "http://h/", **options}}])
    (fault,) = raised.value.faults
    assert (fault.key, told in fault.text) == (key, True)


def test_defaults_of_a_kind_with_an_option_that_every_server_has_to_give(checker: Checker, rest: RestServer) -> None:
    def needs(probe: ProbeContext, what: int) -> bool:
        return what == 1

    probe(needs)
    servers = [{"name": f"n{one}", "needs": {"url": rest.url(), "what": one}} for one in (1, 2)]
    found = checker.check({"defaults": {"remarks": "degraded", "needs": {"timeout": "3s"}}, "servers": servers})
    assert {one.server: one.status for one in found} == {"n1": "HEALTHY", "n2": "UNHEALTHY"}
    with pytest.raises(ConfigError, match="missing; add this key"):
        checker.check([{"name": "a", "needs": {"url": rest.url()}}])


def nothing() -> None:
    """A function that takes nothing."""


def everything(probe: ProbeContext, **options: Any) -> None:
    """A function that names no options."""


@pytest.mark.parametrize(
    ("function", "name", "told"),
    [
        (depth, "rest", "there is a kind"),
        (depth, "tags", "is a key of every server"),
        (depth, "Depth", "cannot name"),
        (lambda probe: None, None, "cannot name"),
        (nothing, None, "takes nothing"),
        (everything, None, "write out the options"),
        (5, "five", "cannot name"),
    ],
)
def test_what_cannot_be_a_kind_says_so(function: Any, name: str | None, told: str) -> None:
    before = dict(KINDS)
    with pytest.raises(UsageError, match=told):
        probe(name=name)(function)
    assert before == KINDS


def test_it_can_be_put_under_load_and_is_in_the_history(checker: Checker, rest: RestServer, tmp_path: Path) -> None:
    fleet = [{"name": "jobs", "depth": {"url": rest.url()}}]
    with forked_workers():
        played = Benchmark(tmp_path / "history.db", calibrate=False).load(fleet, rate=20, duration=1)
    assert {one.operation for one in played.run.series} == {"depth"}
    assert (played.summary.failed, played.summary.ok) == (0, 20)
    one_check(checker, rest.url())
    assert "depth" in {row["kind"] for row in History(checker.database).records("latency", since="1h")}
    rows = list(checker.history.sql("select distinct kind from probe_history where server = 'jobs'"))
    assert rows == [{"kind": "depth"}]


PACKAGE = '''
import sys
assert "ssl" not in sys.modules or "gevent" in sys.modules or "checker.worker" not in " ".join(sys.argv)
def check_ping(probe, word: str = "UP"):
    """A server that says a word."""
    assert word in probe.request().text, f"no {word}"
'''


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a package is installed that brings a kind of probe."""
    site = tmp_path_factory.mktemp("site")
    about = site / "acme_probes-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-probes\nVersion: 1.0\n")
    points = "[mcp_status.probes]\nping = acme_probes:check_ping\nrest = acme_probes:other\nBad-name = acme_probes:x\n"
    (about / "entry_points.txt").write_text(points)
    (site / "acme_probes.py").write_text(PACKAGE)
    return site


Run = Callable[..., str]


@pytest.fixture
def installed(site: Path, tmp_path: Path) -> Run:
    """Run a program, or `mcp-status`, where the package is installed; gives what it printed."""

    def run(*arguments: str | Path, code: int = 0, without: bool = False) -> str:
        folders = [str(ROOT)] if without else [str(site), str(ROOT)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders), "XDG_CACHE_HOME": str(tmp_path / "cache")}
        environment["MCP_STATUS_DB"] = str(tmp_path / "history.db")
        command = [sys.executable, "-P", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        return done.stdout

    return run


def test_a_package_brings_a_kind(installed: Run, rest: RestServer, tmp_path: Path) -> None:
    servers = [
        {"name": "up", "ping": {"url": rest.url(), "word": "UP"}},
        {"name": "down", "ping": {"url": rest.url(), "word": "DOWN"}, "rest": rest.url()},
    ]
    (tmp_path / "fleet.yaml").write_text(json.dumps({"servers": servers}))
    printed = json.loads(installed("-m", "checker", "check", "fleet.yaml", "--format", "json", code=1))
    probes = {
        one["server"]: {probed["kind"]: probed["detail"] for probed in one["probes"]} for one in printed["checks"]
    }
    assert probes == {"up": {"ping": None}, "down": {"ping": "no DOWN", "rest": None}}
    assert "--ping URL" in installed("-m", "checker", "check", "--help")
    installed("-m", "checker", "check", "--ping", rest.url())
    assert "WordOptions" not in installed("-m", "checker", "config", "schema")
    assert '"word"' in installed("-m", "checker", "config", "schema")
    # once it is gone, what it has measured is still there
    assert "ping" in installed("-m", "checker", "history", "up", "--format", "json", without=True)
    assert "up" in installed("-m", "checker", "report", "availability", without=True)


def test_reading_the_registry_imports_nothing_of_a_package(installed: Run) -> None:
    code = (
        "import sys, checker.probe_kinds, storage.history, reports.latency, checker.cli.check; "
        "print('ping' in checker.probe_kinds.KINDS, 'acme_probes' in sys.modules, "
        "checker.probe_kinds.KINDS['rest'].function == '', 'importlib.metadata' in sys.modules)"
    )
    assert installed("-c", code) == "True False True True\n"


SCANS = """
import sys
scanned = []
sys.addaudithook(lambda event, arguments: scanned.append(arguments) if event == "os.scandir" else None)
import checker.probe_packages, os, pathlib
for folder in sys.path:
    if os.path.isdir(folder):
        os.utime(folder, (1e9, 1e9)) if folder in sys.argv[1:] else None
found = checker.probe_packages.installed()
print(len(scanned) > 0, "importlib.metadata" in sys.modules, found)
"""


def test_those_who_have_no_package_pay_with_a_look_at_a_few_folders(installed: Run) -> None:
    """The first look reads what is installed; the next ones a file, until a folder changes."""
    assert installed("-c", SCANS, without=True).split(" ", 1)[0] == "True"
    assert installed("-c", SCANS, without=True) == "False False ()\n"


def test_a_package_that_comes_or_goes_is_noticed(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(probe_packages.VARIABLE, raising=False)
    empty = tmp_path / "site"
    empty.mkdir()
    os.utime(empty, (1e9, 1e9))
    os.utime(site, (1e9, 1e9))
    monkeypatch.setattr(sys, "path", [str(empty)])
    assert (probe_packages.installed(), probe_packages.installed()) == ((), ())
    (empty / "acme_probes-1.0.dist-info").symlink_to(site / "acme_probes-1.0.dist-info")
    names = [name for name, _ in probe_packages.installed()]
    assert names == ["ping", "rest"]


def test_stages_are_those_that_tables_have() -> None:
    assert {stage.name for kind in KINDS.values() for stage in kind.stages} <= STAGES.keys()
    assert OPERATIONS["depth"].module == "checker.loadtest.worker.whole_attempts"
