"""Schemas that servers choose: judged by the dialects that are held here; nothing is fetched, opened or overrun."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checker.probes.mcp.contract import tool_complaints

KNOWN = [
    *("http://json-schema.org/draft-04/schema#", "http://json-schema.org/draft-06/schema#"),
    *("http://json-schema.org/draft-07/schema#", "http://json-schema.org/draft-07/schema"),
    *("https://json-schema.org/draft-07/schema#", "https://json-schema.org/draft/2019-09/schema"),
    *("https://json-schema.org/draft/2020-12/schema", "https://json-schema.org/draft/2020-12/schema#"),
]
UNKNOWN = [
    *("http://127.0.0.1:9/draft-07", "file:///etc/passwd#draft-07", "https://example.com/2020-12", "", "draft-07"),
    *("http://json-schema.org/draft-07/schema#/", "urn:x:2020-12", "ftp://h/2019-09", "json-schema:///draft-04"),
    *("https://json-schema.org/draft/2020-12/schema?draft-07", "http://json-schema.org.evil.example/draft-07/schema#"),
]


def judged(schema: Any) -> list[str]:
    return [one.detail for one in tool_complaints([{"name": "x", "inputSchema": schema}], ())]


@pytest.mark.parametrize("dialect", KNOWN)
def test_dialects_are_known_by_their_address(dialect: str) -> None:
    assert judged({"$schema": dialect, "type": "object", "properties": {"a": {"type": "string"}}}) == []
    (fault,) = judged({"$schema": dialect, "type": "object", "properties": {"a": {"type": "strin"}}})
    assert "is not a JSON Schema" in fault


def test_a_dialect_has_its_own_rules() -> None:
    schema = {"type": "object", "properties": {"a": {"minimum": 1, "exclusiveMinimum": True}}}
    assert judged({"$schema": "http://json-schema.org/draft-04/schema#", **schema}) == []
    assert "is not a JSON Schema" in judged(schema)[0]


@pytest.mark.parametrize("dialect", UNKNOWN)
def test_an_unknown_dialect_is_told_and_not_guessed(dialect: str) -> None:
    (fault,) = judged({"$schema": dialect, "type": "object"})
    assert "of a dialect that is not known" in fault


addresses = st.sampled_from([*KNOWN, *UNKNOWN]) | st.text(max_size=20)
leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8) | addresses
keywords = st.sampled_from(
    [
        *("$schema", "$id", "$ref", "$dynamicRef", "$recursiveRef", "$anchor", "$vocabulary", "$defs", "type", "items"),
        *("properties", "allOf", "not", "pattern", "format", "enum", "id", "definitions", "x-mcp-header", "minimum"),
    ]
)
schemas = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keywords, inner, max_size=4), max_leaves=12
)
documents = st.builds(
    lambda known, others: {**others, **known},
    st.fixed_dictionaries({"type": st.just("object")}, optional={"$schema": addresses, "$ref": addresses}),
    st.dictionaries(keywords, schemas, max_size=5),
)


@settings(max_examples=120, deadline=None)
@given(schema=documents)
def test_every_schema_gets_an_answer_at_once(schema: Any) -> None:
    start = time.process_time()
    judged(schema)
    assert time.process_time() - start < 0.5


_REFEREE = """
import json, sys
from checker.probes.mcp import schema_dialects
from checker.probes.mcp.contract import tool_complaints
tool_complaints([{"name": "x", "inputSchema": {"type": "object"}}], ())  # what is loaded late is loaded now
seen = []
def watch(event, args):
    if event == "open" or event.startswith(("socket.", "subprocess.", "os.posix_spawn")):
        seen.append((event, repr(args)))
sys.addaudithook(watch)
for schema in json.loads(sys.argv[1]):
    tool_complaints([{"name": "x", "inputSchema": schema}], ())
sys.stdout.write(json.dumps(seen))
"""


def test_nothing_is_fetched_or_opened(tmp_path: Any) -> None:
    """Looked at from outside as well: the validator is no Python, so that no hook need see what it opens."""
    listener = socket.create_server(("127.0.0.1", 0))
    url, connected = f"http://127.0.0.1:{listener.getsockname()[1]}", []

    def accept() -> None:
        try:
            connected.append(listener.accept())
        except OSError:
            return

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    pipe = tmp_path / "draft-07"
    os.mkfifo(pipe)  # who opens it to read hangs
    addresses = [f"{url}/draft-07", f"{url}/2020-12/schema", f"file://{pipe}", f"file://{pipe}#2020-12", str(pipe)]
    hostile = [
        {"type": "object", **inner}
        for address in addresses
        for inner in (
            {"$schema": address},
            {"$id": address, "$ref": address},
            {"properties": {"a": {"$schema": address, "$ref": address}}},
            {"$dynamicRef": address, "$recursiveRef": address},
            {"$defs": {"a": {"$id": address, "$schema": address}}, "$ref": "#/$defs/a"},
            {"$schema": "https://json-schema.org/draft/2020-12/schema", "allOf": [{"$ref": address}]},
            {
                "$schema": "http://json-schema.org/draft-04/schema#",
                "id": address,
                "definitions": {"a": {"$ref": address}},
            },
            {"$vocabulary": {address: True}},
        )
    ]
    done = subprocess.run(
        [sys.executable, "-c", _REFEREE, json.dumps(hostile)], capture_output=True, text=True, timeout=60, check=True
    )
    listener.close()
    thread.join(5)
    assert json.loads(done.stdout) == []
    assert connected == []


@pytest.mark.parametrize("levels", [99, 101, 240, 600, 1000])
@pytest.mark.parametrize("keyword", ["properties", "items", "allOf", "not", "enum"])
def test_deep_schemas_do_not_overrun_the_stack(levels: int, keyword: str) -> None:
    inner: Any = {"type": "string"}
    for _ in range(levels):
        inner = {"properties": {"a": inner}} if keyword == "properties" else {keyword: [inner]}
        if keyword == "not":
            inner = {"not": inner["not"][0]}
    found = judged({"type": "object", **inner})
    if levels > 100:
        assert "deep" in found[0]
