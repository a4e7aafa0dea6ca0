"""Regular expressions of the configuration: found as Python's re finds them, in linear time, or refused when loaded."""

from __future__ import annotations

import os
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checker.probes.jsonpaths import compiled_path, jsonpath_fault
from checker.probes.patterns import PatternRefused, compiled, pattern_fault

EXAMPLES = int(os.environ.get("MCP_STATUS_EXAMPLES", "150"))
LETTERS = "aAbB0 _.é\n\tßЖ-ſ½"
atoms = st.sampled_from(
    [
        *("a", "B", "é", r"\.", ".", r"\d", r"\s", r"\w", r"\D", r"\S", r"\W", "[ab]", "[^a]", r"[\w.]", r"[^\s]"),
        *(r"[a-z0-9]", r"[^\W\d_]", "Ж", r"\x41", r"\u0416", "[^é\n]", r"[\S\n]", "_", r"[\D]", r"\t", "-", "½"),
    ]
)
quantifiers = st.sampled_from(["", "", "*", "+", "?", "{2}", "{1,2}", "*?", "+?", "{0,1}?"])


def _group(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    opened = st.sampled_from(["(", "(?:", "(?i:", "(?s:", "(?m:", "(?P<name>", "(?-i:"])
    return st.builds("{}{}){}".format, opened, inner, quantifiers)


pieces = st.recursive(
    st.builds("{}{}".format, atoms, quantifiers),
    lambda inner: _group(inner) | st.builds("{}{}".format, inner, inner) | st.builds("(?:{}|{})".format, inner, inner),
    max_leaves=6,
).filter(lambda text: text.count("(?P<name>") < 2)
ordinary = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "(?i)", "(?m)", "(?s)", "(?im)", "(?a)"]),
    st.sampled_from(["", "^", r"\A"]),
    pieces,
    st.sampled_from(["", "$", r"\Z"]),
)


@settings(max_examples=EXAMPLES, deadline=None)
@given(pattern=ordinary, text=st.text(alphabet=LETTERS, max_size=12))
def test_ordinary_patterns_are_found_as_by_re(pattern: str, text: str) -> None:
    expected = re.search(pattern, text)
    assert compiled(pattern).found_in(text) == (expected is not None), (pattern, text)
    assert compiled(pattern).found_in(text.encode()) == (expected is not None)


@settings(max_examples=EXAMPLES // 2, deadline=None)
@given(pattern=pieces, text=st.text(alphabet=LETTERS, max_size=8))
def test_the_whole_text_matches_as_by_re(pattern: str, text: str) -> None:
    assert compiled(pattern).fullmatch(text) == (re.fullmatch(pattern, text) is not None)


@settings(max_examples=EXAMPLES // 3, deadline=None)
@given(body=st.binary(max_size=30))
def test_bytes_that_are_no_text_are_read_with_replacement(body: bytes) -> None:
    text = body.decode("utf-8", "replace")
    for pattern in ("^.{3}$", "\ufffd", r"\w\W", "(?s)^.*$"):
        assert compiled(pattern).found_in(body) == (re.search(pattern, text) is not None)


@pytest.mark.parametrize("pattern", [r"\s+UP$", "(a+)+b$", "(a|aa)*c", "(.*)*q", r"(\w+\s?)+:", "(?:x?){40}y"])
def test_no_text_makes_an_expression_slow(pattern: str) -> None:
    for text in (b" " * 300_000, b"a" * 300_000, b"a " * 150_000, b"x" * 300_000):
        start = time.process_time()
        assert not compiled(pattern).found_in(text)
        assert time.process_time() - start < 1  # re takes longer than anybody waits


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("(?=UP)", "looks ahead"),
        ("(?!DOWN)UP", "looks ahead"),
        ("(?<=a)b", "looks ahead or behind"),
        (r"(a)\1", "refers back"),
        ("(?P<n>a)(?P=n)", "refers back"),
        ("(a)?(?(1)b|c)", "depends on a group"),
        ("(?>a*)b", "atomic"),
        ("a*+b", "possessively"),
        ("(a{500}){500}", "repetition"),
        ("a{60000}", "repeats more"),
        ("(", "not a regular expression"),
        ("x" * 10_001, "longer than"),
    ],
)
def test_what_cannot_be_bounded_is_refused_with_the_reason(pattern: str, why: str) -> None:
    fault = pattern_fault(pattern)
    assert fault is not None
    assert why in fault


def test_many_repetitions_are_taken() -> None:
    assert compiled("^a{3,2500}$").found_in("a" * 2400)
    assert not compiled("^a{3,2500}$").found_in("a" * 2501)
    assert compiled("^a{2000,}b").found_in("a" * 2100 + "b")
    assert not compiled("^a{2000,}b").found_in("a" * 1999 + "b")


@pytest.mark.parametrize(
    "path", ["$[?match(@.a, '(?=x)')]", "$[?search(@.a, 'a++')]", "$[?@.a =~ /x(?!y)/]", "$[?@[?match(@, '(?=x)')]]"]
)
def test_expressions_within_a_path_are_refused_too(path: str) -> None:
    assert jsonpath_fault(path) is not None


def test_functions_of_paths_are_linear_whoever_wrote_the_expression() -> None:
    text = "a" * 100_000
    assert compiled_path("$[?search(@.a, '(a+)+$')].a").find_all([{"a": text}]) == [text]
    assert compiled_path("$[?match(@.a, '(a+)+b')]").find_all([{"a": text}]) == []
    assert compiled_path("$[?@.a =~ /(A+)+B/i]").find_all([{"a": text + "b"}]) == [{"a": text + "b"}]
    from_server = [{"a": text, "b": "(a+)+b"}, {"a": "x", "b": "(?=x)"}, {"a": "x", "b": "x" * 5000}]
    assert compiled_path("$[?search(@.a, @.b)]").find_all(from_server) == []


def test_a_compiled_expression_is_refused_in_the_same_words_each_time() -> None:
    for _ in range(2):
        with pytest.raises(PatternRefused, match="looks ahead"):
            compiled("(?=x)")
