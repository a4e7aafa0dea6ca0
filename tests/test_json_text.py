"""JSON of servers: what is too much is refused before it is parsed, in no time; everything else is parsed."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checker.model import Reason
from checker.probes.base import Budget, ProbeFailure
from checker.probes.bodies import MOST_VALUES, TooManyValues, loads
from checker.probes.conditions import JsonCondition, json_unmet
from checker.probes.mcp.jsonrpc import parse

JSON = st.recursive(st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(), lambda one: st.lists(one))
TOO_MUCH = {
    "objects": b"[" + b"{}," * MOST_VALUES + b"{}]",
    "lists": b"[" + b"[]," * MOST_VALUES + b"[]]",
    "numbers": b"[" + b"1," * MOST_VALUES + b"1]",
    "members": b"{" + b'"a":{},' * MOST_VALUES + b'"a":1}',
    "levels": b"[" * (MOST_VALUES + 1) + b"]" * (MOST_VALUES + 1),
}


@given(JSON)
def test_usual_json_is_parsed(value: object) -> None:
    assert loads(json.dumps(value).encode()) == value


@pytest.mark.parametrize("text", TOO_MUCH.values(), ids=TOO_MUCH)
def test_too_many_values_are_refused_without_parsing_them(text: bytes) -> None:
    start = time.process_time()
    with pytest.raises(TooManyValues, match="JSON of more than 500000 values"):
        loads(text)
    assert time.process_time() - start < 0.05


def test_large_text_with_few_values_is_parsed() -> None:
    large = {"text": "x" * 9_000_000, "list": list(range(MOST_VALUES - 10))}
    assert loads(json.dumps(large).encode()) == large


@pytest.mark.parametrize("text", ["one, two, [three] ", '\\", {', "é,"])
def test_what_stands_in_texts_is_no_value(text: str) -> None:
    large = {"text": text * MOST_VALUES, "list": [text] * 9, "end": "\\"}
    said = json.dumps(large).encode()
    assert loads(said) == large
    Budget(most_items=100).take_message(said)


def test_too_many_values_are_told_as_a_body_that_is_too_large() -> None:
    with pytest.raises(ProbeFailure) as refused:
        parse(TOO_MUCH["objects"])
    assert refused.value.reason is Reason.BODY_TOO_LARGE
    (told,) = json_unmet(TOO_MUCH["objects"], [JsonCondition(path="$.a", exists=True)])
    assert (told.status, told.reason) == ("UNHEALTHY", "body_too_large")
