"""Where the environments of two load tests differ, which makes a difference of their times hard to believe."""

from __future__ import annotations

from collections.abc import Mapping

from checker.bench.results import BenchRun

_EXPECTED = ("git_commit", "load_average", "checker_version")
"""What differs with the code, which is what is compared, or with the hour; the version is in the run itself."""


def environment_of(run: BenchRun) -> Mapping[str, str]:
    """What the client's side of a run was like: machine, versions, worker processes."""
    kept = {name: value for name, value in run.environment.items() if name not in _EXPECTED}
    return {**kept, "checker version": run.checker_version, "workers": str(run.workers)}


def differences(first: BenchRun, second: BenchRun) -> list[str]:
    """What differs, as words: ``python (3.12.1, 3.13.0)``."""
    before, after = environment_of(first), environment_of(second)
    names = dict.fromkeys((*before, *after))
    return [
        f"{name} ({before.get(name, 'unknown')}, {after.get(name, 'unknown')})"
        for name in names
        if before.get(name) != after.get(name)
    ]
