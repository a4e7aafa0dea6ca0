"""The line of a program's output that tells why it ended."""

from __future__ import annotations

import pytest

from checker.worker.transport.stdio_programs import telling_line
from conftest import ROOT

BLOCKS = (ROOT / "tests" / "data" / "last_words.txt").read_text().split("%%%% ")[1:]
"""What programs wrote, each below the line of it that tells; `\\x1b` stands for the character."""


@pytest.mark.parametrize("block", BLOCKS, ids=[block.partition("\n")[0][:40] for block in BLOCKS])
def test_the_telling_line_is_found(block: str) -> None:
    expected, _, text = block.partition("\n")
    assert telling_line(text.replace("\\x1b", "\x1b"))[1] == expected


@pytest.mark.parametrize("text", ["", "\n \t\n----\n"])
def test_nothing_tells_nothing(text: str) -> None:
    assert telling_line(text) == (0, "")


def test_a_line_that_says_what_is_wanted_outweighs_usage_and_that_noise() -> None:
    wanted, usage, noise = (telling_line(one)[0] for one in ("Error: A_KEY is required", "Usage: x", "npm warn x"))
    assert wanted > usage > noise > telling_line("")[0]


@pytest.mark.parametrize("text", [" ", "a ", "\x1b[", "a.b:", "│ ", "{", "| + ", "error ", "warn:", "2:"])
def test_long_output_is_looked_through_in_no_time(text: str) -> None:
    weight, line = telling_line(text * (20_000 // len(text)))
    assert len(line) <= 300
    assert weight >= 0
