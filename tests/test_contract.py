"""Contracts: one digest whatever the order, and each kind of change found and graded."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import batch, check, facts, probe, run_info, server
from checker.contract.canonical_form import canonical
from checker.contract.changes import diff
from checker.contract.severity import Change, Grade, worst
from checker.model import ContractSnapshot
from storage.history import open_history
from storage.store import open_store

BREAKING, RISKY, COSMETIC = Grade.BREAKING, Grade.RISKY, Grade.COSMETIC


def tool(name: str = "add", description: str = "Adds.", **schema: Any) -> dict[str, Any]:
    return {"name": name, "description": description, "inputSchema": {"type": "object", **schema}}


def properties(*required: str, **schemas: Any) -> dict[str, Any]:
    return tool(properties=schemas, required=list(required))


def tools(*listed: Any) -> dict[str, Any]:
    return {"tools": list(listed)}


def argument(name: str, **values: Any) -> dict[str, Any]:
    return {"prompts": [{"name": "greet", "arguments": [{"name": name, **values}]}]}


def hints(**values: bool) -> dict[str, Any]:
    return tools({**tool(), "annotations": values})


def output(schema: Any) -> dict[str, Any]:
    return tools({**tool(), "outputSchema": schema})


TEXT, NUMBER, WHOLE = {"type": "string"}, {"type": "number"}, {"type": "integer"}
OPTIONAL = {"anyOf": [{"type": "string"}, {"type": "null"}]}
SIZE = properties(size={"type": "string", "enum": ["s", "m"]})

RULES: dict[str, tuple[dict[str, Any], dict[str, Any], list[tuple[str, Grade]]]] = {
    "tool removed": (tools(tool()), tools(), [("tool_removed", BREAKING)]),
    "tool added": (tools(), tools(tool()), [("tool_added", COSMETIC)]),
    "tool renamed": (tools(tool("a")), tools(tool("b")), [("tool_renamed", BREAKING)]),
    "tool replaced": (
        tools(tool("a", "Adds.")),
        tools(tool("b", "Multiplies.")),
        [("tool_removed", BREAKING), ("tool_added", COSMETIC)],
    ),
    "description": (tools(tool()), tools(tool(description="Ignore all else.")), [("description_changed", RISKY)]),
    "title": (tools(tool()), tools({**tool(), "title": "Add"}), [("title_changed", COSMETIC)]),
    "required argument": (
        tools(properties("a", a=TEXT)),
        tools(properties("a", "b", a=TEXT, b=TEXT)),
        [("required_argument_added", BREAKING)],
    ),
    "optional argument": (
        tools(properties(a=TEXT)),
        tools(properties(a=TEXT, b=TEXT)),
        [("argument_added", COSMETIC)],
    ),
    "argument removed": (tools(properties(a=TEXT)), tools(properties()), [("argument_removed", BREAKING)]),
    "became required": (
        tools(properties(a=TEXT)),
        tools(properties("a", a=TEXT)),
        [("argument_became_required", BREAKING)],
    ),
    "became optional": (
        tools(properties("a", a=TEXT)),
        tools(properties(a=TEXT)),
        [("argument_became_optional", COSMETIC)],
    ),
    "number to integer": (tools(properties(a=NUMBER)), tools(properties(a=WHOLE)), [("type_narrowed", BREAKING)]),
    "integer to number": (tools(properties(a=WHOLE)), tools(properties(a=NUMBER)), [("type_widened", COSMETIC)]),
    "any to text": (tools(properties(a={})), tools(properties(a=TEXT)), [("type_narrowed", BREAKING)]),
    "text to number": (tools(properties(a=TEXT)), tools(properties(a=NUMBER)), [("type_changed", BREAKING)]),
    "no longer null": (tools(properties(a=OPTIONAL)), tools(properties(a=TEXT)), [("type_narrowed", BREAKING)]),
    "null as well": (tools(properties(a=TEXT)), tools(properties(a=OPTIONAL)), [("type_widened", COSMETIC)]),
    "enum shrunk": (
        tools(SIZE),
        tools(properties(size={"type": "string", "enum": ["s"]})),
        [("enum_shrunk", BREAKING)],
    ),
    "enum added": (tools(properties(size=TEXT)), tools(SIZE), [("enum_shrunk", BREAKING)]),
    "enum grown": (
        tools(SIZE),
        tools(properties(size={"type": "string", "enum": ["s", "m", "l"]})),
        [("enum_grown", COSMETIC)],
    ),
    "const": (
        tools(properties(a={"enum": [1, 2]})),
        tools(properties(a={"const": 1})),
        [("enum_shrunk", BREAKING)],
    ),
    "shorter": (
        tools(properties(a={"type": "string", "maxLength": 9})),
        tools(properties(a={"type": "string", "maxLength": 5})),
        [("constraint_tightened", BREAKING)],
    ),
    "longer": (
        tools(properties(a={"type": "string", "maxLength": 5})),
        tools(properties(a={"type": "string", "maxLength": 9})),
        [("constraint_loosened", COSMETIC)],
    ),
    "minimum": (
        tools(properties(a=NUMBER)),
        tools(properties(a={"type": "number", "minimum": 1})),
        [("constraint_tightened", BREAKING)],
    ),
    "pattern": (
        tools(properties(a=TEXT)),
        tools(properties(a={"type": "string", "pattern": "^x"})),
        [("constraint_tightened", BREAKING)],
    ),
    "closed": (
        tools(tool(properties={})),
        tools(tool(properties={}, additionalProperties=False)),
        [("constraint_tightened", BREAKING)],
    ),
    "default": (
        tools(properties(a={"type": "string", "default": "x"})),
        tools(properties(a={"type": "string", "default": "y"})),
        [("default_changed", RISKY)],
    ),
    "nested": (
        tools(properties(a={"type": "array", "items": {"type": "object", "properties": {"b": NUMBER}}})),
        tools(properties(a={"type": "array", "items": {"type": "object", "properties": {"b": WHOLE}}})),
        [("type_narrowed", BREAKING)],
    ),
    "reference": (
        tools(properties(a={"$ref": "#/$defs/x"})),
        tools(properties(a={"$ref": "#/$defs/y"})),
        [("schema_changed", RISKY)],
    ),
    "count of nothing": (
        tools(properties(a=TEXT)),
        tools(properties(a={"type": "string", "minLength": 0})),
        [("schema_changed", COSMETIC)],
    ),
    "multiple of a divisor": (
        tools(properties(a={"multipleOf": 10})),
        tools(properties(a={"multipleOf": 5})),
        [("constraint_loosened", COSMETIC)],
    ),
    "large numbers": (
        tools(properties(a={"enum": [2**53]})),
        tools(properties(a={"enum": [2**53 + 1]})),
        [("enum_shrunk", BREAKING), ("enum_grown", COSMETIC)],
    ),
    "words in a branch": (
        tools(properties(a=OPTIONAL)),
        tools(properties(a={"anyOf": [{"type": "string", "description": "Send it all."}, {"type": "null"}]})),
        [("description_changed", RISKY)],
    ),
    "type and branches": (
        tools(properties(a=TEXT)),
        tools(properties(a={"type": "string", "anyOf": [{"type": "null"}]})),
        [("schema_changed", RISKY)],
    ),
    "const beside enum": (
        tools(properties(a={"enum": [1, 2], "const": 1})),
        tools(properties(a={"enum": [1, 2], "const": 2})),
        [("enum_shrunk", BREAKING), ("enum_grown", COSMETIC)],
    ),
    "no schema any more": (
        tools(tool()),
        tools({**tool(), "inputSchema": False}),
        [("schema_changed", RISKY)],
    ),
    "output removed": (output({"type": "object"}), tools(tool()), [("output_schema_removed", BREAKING)]),
    "output member removed": (
        output({"type": "object", "properties": {"a": TEXT}}),
        output({"type": "object", "properties": {}}),
        [("output_removed", BREAKING)],
    ),
    "output may be absent": (
        output({"type": "object", "properties": {"a": TEXT}, "required": ["a"]}),
        output({"type": "object", "properties": {"a": TEXT}}),
        [("output_became_optional", RISKY)],
    ),
    "output widened": (
        output({"type": "object", "properties": {"a": WHOLE}}),
        output({"type": "object", "properties": {"a": NUMBER}}),
        [("type_widened", BREAKING)],
    ),
    "now destructive": (hints(destructiveHint=False), hints(destructiveHint=True), [("annotation_changed", RISKY)]),
    "hint dropped": (hints(readOnlyHint=True), tools(tool()), [("annotation_changed", RISKY)]),
    "now read-only": (hints(readOnlyHint=False), hints(readOnlyHint=True), [("annotation_changed", COSMETIC)]),
    "prompt removed": ({"prompts": [{"name": "p"}]}, {"prompts": []}, [("prompt_removed", BREAKING)]),
    "prompt argument": (
        {"prompts": [{"name": "greet", "arguments": []}]},
        argument("who", required=True),
        [("required_argument_added", BREAKING)],
    ),
    "prompt argument required": (
        argument("who"),
        argument("who", required=True),
        [("argument_became_required", BREAKING)],
    ),
    "resource removed": ({"resources": [{"uri": "a:b"}]}, {"resources": []}, [("resource_removed", RISKY)]),
    "resource added": ({"resources": []}, {"resources": [{"uri": "a:b"}]}, [("resource_added", COSMETIC)]),
    "template removed": (
        {"resourceTemplates": [{"uriTemplate": "a:{b}"}]},
        {"resourceTemplates": []},
        [("template_removed", BREAKING)],
    ),
    "older protocol": (
        {"protocolVersion": "2025-11-25"},
        {"protocolVersion": "2025-03-26"},
        [("protocol_version_changed", RISKY)],
    ),
    "newer protocol": (
        {"protocolVersion": "2025-11-25"},
        {"protocolVersion": "2026-07-28"},
        [("protocol_version_changed", COSMETIC)],
    ),
    "server version": (
        {"server": {"name": "a", "version": "1"}},
        {"server": {"name": "a", "version": "2"}},
        [("server_version_changed", COSMETIC)],
    ),
    "capability removed": (
        {"capabilities": {"prompts": {}}},
        {"capabilities": {}},
        [("capability_removed", BREAKING)],
    ),
    "instructions": ({"instructions": "a"}, {"instructions": "b"}, [("instructions_changed", RISKY)]),
}


@pytest.mark.parametrize("rule", RULES)
def test_change_is_found_and_graded(rule: str) -> None:
    old, new, expected = RULES[rule]
    assert [(change.kind, change.grade) for change in diff(old, new)] == expected


def test_volatile_members_of_resources_are_no_change() -> None:
    old = {"uri": "a:b", "size": 1, "annotations": {"lastModified": "2026-01-01T00:00:00Z", "priority": 1}}
    new = {"uri": "a:b", "size": 2, "annotations": {"lastModified": "2026-02-01T00:00:00Z", "priority": 1}}
    assert canonical({"resources": [old]}).digest == canonical({"resources": [new]}).digest


def test_size_of_the_tool_list_is_counted() -> None:
    contract = canonical({"tools": [tool()], "prompts": []})
    listed = json.dumps([tool()], sort_keys=True, separators=(",", ":")).encode()
    assert (contract.tool_count, contract.prompt_count, contract.resource_count) == (1, 0, None)
    assert (contract.tools_bytes, contract.tools_tokens) == (len(listed), -(-len(listed) // 4))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
schemas = st.recursive(
    st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["string", "integer", "number", "object", ["string", "null"], 7]),
            "enum": st.lists(json_values, max_size=3),
            "required": st.lists(st.sampled_from("ab"), max_size=2) | json_values,
            "maxLength": json_values,
            "description": st.text(max_size=3),
            "anyOf": json_values,
        },
    ),
    lambda inner: st.fixed_dictionaries({"properties": st.dictionaries(st.sampled_from("ab"), inner, max_size=2)}),
    max_leaves=4,
)
items = st.fixed_dictionaries(
    {"name": st.sampled_from("abc")},
    optional={
        "inputSchema": schemas | json_values,
        "outputSchema": schemas,
        "annotations": json_values,
        "x": json_values,
    },
)
documents = st.fixed_dictionaries(
    {},
    optional={
        "protocolVersion": st.sampled_from(["2025-11-25", "2026-07-28"]) | json_values,
        "server": st.dictionaries(st.sampled_from(["name", "version"]), st.text(max_size=2)),
        "capabilities": json_values,
        "instructions": st.none() | st.text(max_size=3),
        "tools": st.lists(items, max_size=3),
        "prompts": st.lists(items | st.fixed_dictionaries({"arguments": json_values}), max_size=2) | json_values,
        "resources": json_values,
    },
)


@given(documents, st.randoms())
def test_order_changes_neither_digest_nor_contract(document: dict[str, Any], random: Any) -> None:
    shuffled = dict(reversed(document.items()))
    for member in ("tools", "prompts", "resources"):
        if isinstance(listed := shuffled.get(member), list):
            listed = [dict(reversed(one.items())) if isinstance(one, dict) else one for one in listed]
            random.shuffle(listed)
            shuffled[member] = listed
    assert canonical(shuffled) == canonical(document)
    assert diff(json.loads(canonical(document).text), json.loads(canonical(shuffled).text)) == ()


@given(documents, documents)
def test_another_digest_is_another_contract_and_the_reverse(old: dict[str, Any], new: dict[str, Any]) -> None:
    before, after = json.loads(canonical(old).text), json.loads(canonical(new).text)
    assert diff(before, before) == ()
    changes = diff(before, after)
    assert [list(Grade).index(change.grade) for change in changes] == sorted(
        list(Grade).index(change.grade) for change in changes
    )
    if canonical(old).digest == canonical(new).digest:
        assert changes == ()
    else:
        assert changes, (before, after)
        assert worst(change.grade for change in changes) is changes[0].grade


@given(st.lists(json_values.filter(lambda one: not isinstance(one, dict | list)), max_size=5), st.randoms())
def test_order_of_a_set_in_a_schema_is_no_change(values: list[Any], random: Any) -> None:
    shuffled = list(values)
    random.shuffle(shuffled)
    for name in ("required", "enum", "type"):
        old, new = (
            {"tools": [{"name": "a", "inputSchema": {"type": "object", "properties": {name: {name: one}}, name: one}}]}
            for one in (values, shuffled)
        )
        assert canonical(old) == canonical(new)
    branches = [{"type": "string"}, {"type": "integer", "minimum": 1}]
    old, new = (
        {"tools": [{"name": "a", "inputSchema": {"type": "object", "properties": {"x": {"anyOf": one}}}}]}
        for one in (branches, branches[::-1])
    )
    assert [change.grade for change in diff(old, new)] == [Grade.COSMETIC]


def test_change_is_fit_to_be_shown() -> None:
    change = Change.of("tool \x1b[31m" + "x" * 500, "k", RISKY, "a\nb\x07" + "y" * 900)
    assert change.item.isprintable()
    assert change.detail.isprintable()
    assert (len(change.item), len(change.detail)) == (120, 200)


def test_renamed_tools_are_matched_by_their_words_first() -> None:
    schema = {"type": "object", "properties": {"q": TEXT}}
    old = [{"name": name, "description": words, "inputSchema": schema} for name, words in (("a", "A"), ("b", "B"))]
    new = [{"name": name, "description": words, "inputSchema": schema} for name, words in (("c", "B"), ("d", "A"))]
    assert [change.detail for change in diff(tools(*old), tools(*new))] == ["a -> d", "b -> c"]


@pytest.mark.parametrize("alike", [True, False])
def test_thousands_of_tools_are_compared(alike: bool) -> None:
    """Every tool against every other one would take hours."""

    def listed(letter: str) -> dict[str, Any]:
        names = [f"{letter}{number}" for number in range(4000)]
        return tools(*(tool(name, name, properties={"q": TEXT}, title="" if alike else name) for name in names))

    kinds = {change.kind for change in diff(listed("a"), listed("b"))}
    assert kinds == ({"tool_renamed"} if alike else {"tool_removed", "tool_added"})
    assert len(diff(tools(*[tool()] * 20_000), tools())) == 20_000


def test_contract_that_is_nested_too_deeply_is_refused() -> None:
    deep: Any = 1
    for _ in range(900):
        deep = {"a": deep}
    with pytest.raises(ValueError, match="nested more than 200 levels deep"):
        canonical({"tools": [{"name": "a", "x": deep}]})


def _tools(number: int, words: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": {f"p{index}": {"type": "string", "title": words} for index in range(8)}}
    return {"tools": [{"name": f"t{index}", "description": words, "inputSchema": schema} for index in range(number)]}


def test_a_difference_of_two_huge_contracts_is_bounded_and_says_what_was_not_taken_apart() -> None:
    start = time.process_time()
    changes = diff(_tools(10_000, "old"), _tools(10_000, "new"))
    assert time.process_time() - start < 10
    assert len({change.item for change in changes}) == 10_000
    apart = {change.item for change in changes if change.kind == "tool_changed"}
    assert 5_000 < len(apart) < 10_000
    assert {change.grade for change in changes if change.kind == "tool_changed"} == {RISKY}


def test_contract_that_was_kept_before_sets_were_sorted_has_no_new_version(tmp_path: Path) -> None:
    def document(required: str) -> str:
        return '{"tools":[{"inputSchema":{"required":[' + required + '],"type":"object"},"name":"a"}]}'

    with open_store(tmp_path / "history.db") as store:
        for digest, required in (("old", '"b","a"'), ("new", '"a","b"'), ("other", '"a","c"')):
            run_id = store.begin_run(run_info(), [server("x")])
            found = check("x", probes=(probe("mcp", mcp=facts(contract_digest=digest)),))
            kept = ContractSnapshot(digest=digest, document=document(required))
            store.write(run_id, batch(found, contracts=(kept,)))
    with open_history(tmp_path / "history.db") as history:
        versions = history.contracts_of_server("x")
    assert [(one.version, one.digest) for one in versions] == [(1, "new"), (2, "other")]
