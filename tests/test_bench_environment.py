"""The environment of a load test, read from this machine and from folders with and without git."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from checker.loadtest.planning import environment as environment_module
from checker.loadtest.planning.environment import commit, environment, usable_cores


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    def git(*words: str) -> None:
        who = ("-c", "user.name=tester", "-c", "user.email=tester@example.net", "-c", "commit.gpgsign=false")
        subprocess.run(["git", "-C", str(tmp_path), *who, *words], check=True, capture_output=True)

    git("init")
    (tmp_path / "code.py").write_text("a = 1\n")
    git("add", "code.py")
    git("commit", "-m", "First")
    return tmp_path


def test_environment_names_what_makes_runs_comparable() -> None:
    found = environment(git=False)
    assert {"checker_version", "machine", "kernel", "python", "cores", "cores_usable", "numpy", "gevent"} <= set(found)
    assert all(isinstance(value, str) and value for value in found.values())


def test_everything_that_is_said_is_documented() -> None:
    text = (Path(__file__).resolve().parent.parent / "docs" / "bench-judgement.md").read_text()
    assert [name for name in environment() if f"`{name}`" not in text] == []


def test_environment_without_git_is_read_in_less_than_50_ms() -> None:
    environment(git=False)  # what Python reads from disk at first is not what is measured
    took = []
    for _ in range(3):
        begun = time.perf_counter()
        environment(git=False)
        took.append(time.perf_counter() - begun)
    assert min(took) < 0.05


def test_usable_cores_are_no_more_than_the_affinity_allows() -> None:
    assert 0 < usable_cores() <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("lines", "cores"),
    [
        ({"/sys/fs/cgroup/cpu.max": "50000 100000"}, 0.5),
        ({"/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "25000", "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, 0.25),
    ],
)
def test_a_quota_of_the_control_group_lowers_usable_cores(
    lines: dict[str, str], cores: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment_module, "_line", lines.get)
    assert usable_cores() == cores


@pytest.mark.parametrize("lines", [{"/sys/fs/cgroup/cpu.max": "max 100000"}, {}])
def test_without_a_quota_usable_cores_are_those_of_the_affinity(
    lines: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment_module, "_line", lines.get)
    assert usable_cores() == len(os.sched_getaffinity(0))


def test_commit_of_a_clean_folder_is_its_head(repository: Path) -> None:
    found = commit(repository)
    assert found is not None
    assert len(found) == 12


def test_changed_files_make_the_commit_dirty_and_new_ones_do_not(repository: Path) -> None:
    (repository / "notes.txt").write_text("not tracked\n")
    assert "dirty" not in str(commit(repository))
    (repository / "code.py").write_text("a = 2\n")
    assert str(commit(repository)).endswith(" dirty")


def test_asking_for_the_commit_starts_no_program_that_the_repository_names(repository: Path) -> None:
    program = repository / "started"
    (repository / "hook").write_text(f"#!/bin/sh\ntouch {program}\n")
    (repository / "hook").chmod(0o755)
    subprocess.run(["git", "-C", str(repository), "config", "core.fsmonitor", str(repository / "hook")], check=True)
    assert commit(repository)
    assert not program.exists()


def test_a_folder_outside_of_git_has_no_commit(tmp_path: Path) -> None:
    assert commit(tmp_path) is None
    assert "git_commit" not in environment(tmp_path)


def test_without_git_there_is_no_commit_and_no_failure(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert commit(repository) is None
