"""The public MCP conformance suite, in its pinned version, as the server that our probe checks."""

from __future__ import annotations

import re
import subprocess

import pytest

from conftest import ROOT, missing
from real_servers import NotInstalled, conformance_command

CHECKS = {
    # scenario, version: how many checks the suite makes; one that makes none proves nothing
    ("initialize", "2025-06-18"): 1,
    ("initialize", "2025-11-25"): 1,
    ("tools_call", "2025-06-18"): 2,
    ("tools_call", "2025-11-25"): 2,
    ("tools_call", "2026-07-28"): 2,
    ("sse-retry", "2025-11-25"): 3,
    ("request-metadata", "2026-07-28"): 5,
    ("http-standard-headers", "2026-07-28"): 4,
    ("http-custom-headers", "2026-07-28"): 18,
    ("http-invalid-tool-headers", "2026-07-28"): 12,
    ("json-schema-ref-no-deref", "2026-07-28"): 1,
    ("auth/client-credentials-basic", None): 9,
    ("auth/client-credentials-jwt", None): 9,
    ("auth/pre-registration", "2025-11-25"): 9,
    ("auth/pre-registration", "2026-07-28"): 6,
}


@pytest.mark.parametrize(("scenario", "version"), CHECKS)
def test_probe_passes_the_conformance_scenario(scenario: str, version: str | None) -> None:
    try:
        suite = conformance_command()
    except NotInstalled as error:
        missing(str(error))
    chosen = ["--scenario", scenario, *(["--spec-version", version] if version else [])]
    command = [*suite, "client", "--command", str(ROOT / "scripts" / "conformance_client"), *chosen]
    done = subprocess.run(
        [*command, "--timeout", "30000"], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
    )
    said = done.stdout + done.stderr
    passed = re.search(r"Passed: (\d+)/(\d+), (\d+) failed", said)
    assert passed is not None, said
    assert passed.groups() == (str(CHECKS[scenario, version]), str(CHECKS[scenario, version]), "0"), said
    assert done.returncode == 0


def test_scenarios_that_are_not_passed_are_explained() -> None:
    try:
        suite = conformance_command()
    except NotInstalled as error:
        missing(str(error))
    listed = subprocess.run([*suite, "list", "--client"], capture_output=True, text=True, timeout=60, check=True)
    names = set(re.findall(r"^  - (\S+)", listed.stdout, re.MULTILINE))
    assert names
    text = (ROOT / "docs" / "conformance.md").read_text()
    assert [name for name in sorted(names) if f"`{name}`" not in text] == []
