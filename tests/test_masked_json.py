"""Masking a JSON document leaves it one, of the same shape, whatever the environment of the command holds."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from checker.probes.mcp.options import McpOptions
from checker.secrets.known_secrets import Masking
from checker.secrets.plain_values import is_plain, is_prose

WORDS = [
    "true",
    "false",
    "null",
    "object",
    "tools",
    "name",
    "string",
    "type",
    "8080",
    "1.5",
    "{",
    '":',
    "},",
    "[]",
    '"',
    "\\",
    "\\u",
]
VALUES = st.sampled_from(WORDS) | st.text(min_size=1, max_size=12) | st.integers(0, 10**20).map(str)
NAMES = st.sampled_from(["DEBUG", "MODE", "PORT", "DEMO_TOKEN", "DEMO_PASSWORD", "X"])
LEAVES = (
    st.none() | st.booleans() | st.integers(-(2**80), 2**80) | st.floats(allow_nan=False, allow_infinity=False) | VALUES
)
DOCUMENTS = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(VALUES, inner, max_size=3), max_leaves=12
)


def shape(value: Any) -> Any:
    """Lists, objects, switches and small numbers as they are; a long number counts as a text: it may be masked."""
    if isinstance(value, dict):
        return sorted((json.dumps(shape(one)) for one in value.values()), key=str)
    if isinstance(value, list):
        return [shape(one) for one in value]
    is_long = isinstance(value, int | float) and not isinstance(value, bool) and len(str(value)) >= 8
    return "text" if isinstance(value, str) or is_long else value


@given(st.dictionaries(NAMES, VALUES, min_size=1, max_size=3), DOCUMENTS, st.booleans())
def test_shape_stays(env: dict[str, str], document: Any, ascii_only: bool) -> None:
    masking = Masking(McpOptions(command="demo", env=env))
    text = json.dumps(document, ensure_ascii=ascii_only)
    masked = json.loads(masking.json(text))
    assert shape(masked) == shape(document)
    assert shape(masking.value(document)) == shape(document)


@given(DOCUMENTS)
def test_plain_values_change_nothing(document: Any) -> None:
    env = {"DEBUG": "true", "MODE": "object", "SCOPE": "tools", "PORT": "8080", "KIND": "null"}
    masking = Masking(McpOptions(command="demo", env=env))
    text = json.dumps(document)
    assert masking.json(text) == text


def test_numbers_beyond_64_bits_and_broken_unicode_are_kept_where_something_is_masked() -> None:
    masking = Masking(McpOptions(command="demo", env={"DEMO_TOKEN": "c4nary-token-1"}))
    for value in (2**80, 9007199254740993, 0.1, "\ud800"):
        found = json.loads(masking.json(json.dumps({"a": value, "b": "it is c4nary-token-1"})))
        assert found == {"a": value, "b": "it is ***"}


def test_text_for_people_is_no_secret_and_what_looks_like_one_is() -> None:
    for text in (
        "DEMO_URL is not set; give it as the first argument",
        "Usage: demo serve\n\n  serve  Start (the server)\n",
    ):
        assert is_prose(text)
        assert not is_plain(text)
    for text in (
        "three short words",
        "password: the cat sat here, often",
        "--token the cat; sat here",
        "give TOKEN=abcd to the (first) server",
        "the key is sk-live-4f9a8b7c6d5e, use it",
        "mail me@example.com; or call (today) soon",
        "it is Tr0ub4dor&3x9; and no more here",
    ):
        assert not is_prose(text), text
