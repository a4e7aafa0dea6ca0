"""What fuzzing found before stays mended, and a few thousand inputs more find nothing; the same ones each time."""

from __future__ import annotations

import itertools

import pytest

from fuzzing.mutations import inputs
from fuzzing.targets import CORPUS, LARGEST, TARGETS, corpus

SEED = 20_261_129
MADE = {"question": 100, "configuration": 150, "foreign": 100, "reply": 300, "imported": 500}
"""Inputs that are made, where it is not `USUAL`: some take longer than others."""
USUAL = 1000


@pytest.mark.parametrize("name", TARGETS)
def test_what_was_found_stays_mended(name: str) -> None:
    kept = corpus(name)
    assert kept, f"tests/data/corpus/{name} has a seed at least"
    for data in kept:
        TARGETS[name](data)


@pytest.mark.parametrize("name", TARGETS)
def test_changes_to_the_corpus_find_nothing(name: str) -> None:
    target = TARGETS[name]
    for data in itertools.islice(inputs(SEED, corpus(name), target.words), MADE.get(name, USUAL)):
        try:
            target(data)
        except Exception as error:
            pytest.fail(f"{name}: {data[:2000]!r}: {type(error).__name__}: {error}")


def test_corpus_is_small_and_every_folder_has_its_target() -> None:
    assert {folder.name for folder in CORPUS.iterdir()} == set(TARGETS)
    assert [file.name for file in CORPUS.glob("*/*") if file.stat().st_size > LARGEST] == []
