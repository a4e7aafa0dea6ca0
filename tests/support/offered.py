"""A made-up MCP server as a value: what it offers, in which bytes, and one change of either.

`python offered.py FILE` serves the one in the file over standard input and output.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

LISTS = {
    "tools/list": "tools",
    "resources/list": "resources",
    "resources/templates/list": "resourceTemplates",
    "prompts/list": "prompts",
}
MODERN = "2026-07-28"
SAID = "generated-4711-words"
"""Every server says this: it is a secret for some checks only."""
STYLES = ("compact", "spaced", "sorted", "escaped", "solidus", "floats", "doubled", "exponents", "large")
"""Ways to write the same JSON, or nearly the same."""
ENVELOPES = (
    '{"jsonrpc":"2.0","id":@,"result":#}',
    '{"result":#,"jsonrpc":"2.0","id":@}',
    ' { "id" : @ , "jsonrpc" : "2.0" ,\t"result" : # } \r\n',
    '{"jsonrpc": "2.0", "result": #, "id":      @}',
    '{"id":@,"result":#,"jsonrpc":"2.0"}',
)
ODD_ENVELOPES = (
    '{"jsonrpc":"2.0","id":"@","result":#}',
    '{"jsonrpc":"2.0","id":@,"result":#,"more":{}}',
    '[{"jsonrpc":"2.0","id":@,"result":#}]',
    '{"jsonrpc":"2.0","id":@,"result":{},"result":#}',
    '{"jsonrpc":"2.0","id":@,"result":#,"result":{"tools":[]}}',
    '{"jsonrpc":"2.0","id":@,"result":#,"id":999}',
    '{"jsonrpc":"2.0","id":999,"result":#,"id":@}',
    '{"jsonrpc":"2.0","id":999,"result":#}',
    '{"jsonrpc":"1.0","id":@,"result":#}',
    '{"id":@,"result":#}',
    '{"jsonrpc":"2.0","id":@,"result":#}}',
    '{"jsonrpc":"2.0","id":@,"result":#',
    '{"jsonrpc":"2.0","id":0@,"result":#}',
    '{"jsonrpc":"2.0","id":@,\x0b"result":#}',
    '{"jsonrpc":"2.0","id":@,"result":[#]}',
)


def generated(draw: random.Random) -> dict[str, Any]:
    """A server, most often a good one."""
    number = draw.randrange(1000)
    lists = {
        "tools/list": [_tool(draw, name) for name in draw.sample(("a", "b", "c", "d"), draw.randrange(1, 5))],
        "resources/list": [{"uri": f"file:///{number}", "name": "a", "size": 7}],
        "resources/templates/list": [{"uriTemplate": "file:///{a}", "name": "a"}],
        "prompts/list": [{"name": "p", "description": "does it", "arguments": [{"name": "q", "required": True}]}],
    }
    offered = draw.sample(("tools", "resources", "prompts"), draw.randrange(1, 4))
    return {
        "is_modern": draw.random() < 0.3,
        "identity": {"name": f"server {number}", "version": "1.0"},
        "capabilities": {name: {"listChanged": True} for name in offered},
        "instructions": draw.choice((None, f"{SAID} does it", "é" * 5)),
        "lists": lists,
        "at_once": {method: draw.choice((1, 2, 9, 9, 9)) for method in lists},
        "cursor": "c",
        "unknown": [method for method in lists if draw.random() < 0.1],
        "style": draw.choice(STYLES[:5]),
        "envelope": draw.choice(ENVELOPES),
    }


def _tool(draw: random.Random, name: str) -> dict[str, Any]:
    properties = {"q": {"type": "string"}, "n": {"type": "integer", "minimum": 1, "maximum": 100}}
    schema = {"type": "object", "properties": properties, "required": ["q", "n"]}
    return {"name": name, "description": f"{SAID} does it {draw.randrange(3)} <é/>", "inputSchema": schema}


def changed(draw: random.Random, server: dict[str, Any]) -> dict[str, Any]:
    """The server with one change: of the bytes alone, of the order, of what it offers, or for the worse."""
    new: dict[str, Any] = json.loads(json.dumps(server))
    tools = new["lists"]["tools/list"]
    kind = draw.randrange(15)
    if kind == 0:
        new["style"] = draw.choice(STYLES)
    elif kind == 1:
        new["envelope"] = draw.choice(ENVELOPES)
    elif kind == 2:
        new["envelope"] = draw.choice(ODD_ENVELOPES)
    elif kind == 3:
        draw.shuffle(tools)
    elif kind == 4:
        new["at_once"][draw.choice(list(LISTS))] = draw.choice((1, 2, 3, 9))
    elif kind == 5:
        new["cursor"] = draw.choice(("d", "", "c"))
    elif kind == 6 and tools:
        draw.choice(tools)["description"] += " better"
    elif kind == 7 and tools:
        draw.choice(tools)["inputSchema"]["required"] = draw.choice((["n", "q"], ["q"], []))
    elif kind == 8 and tools:
        draw.choice(tools)["inputSchema"]["properties"]["n"]["minimum"] = draw.choice((1.0, 2, True, "1"))
    elif kind == 9 and tools:
        new["lists"]["tools/list"] = [*tools, {**tools[0], "name": draw.choice(("e", "a", "", 5))}]
    elif kind == 10:
        new["unknown"] = [method for method in LISTS if draw.random() < 0.3]
    elif kind == 11:
        new["identity"]["version"] = draw.choice(("1.1", "1.0", 1))
    elif kind == 12:
        new["instructions"] = draw.choice((None, "other", SAID))
    elif kind == 13:
        new["capabilities"].pop(draw.choice(("tools", "resources", "prompts")), None)
    else:
        del tools[-1:]
    return new


def answer(server: dict[str, Any], asked: dict[str, Any]) -> str | None:
    """The text of the reply to a message; None to a notification."""
    if "id" not in asked:
        return None
    method, number = asked["method"], str(asked["id"])
    result = _result(server, method, asked.get("params", {}))
    if result is None:
        error = {"code": -32601, "message": "unknown"}
        return json.dumps({"jsonrpc": "2.0", "id": asked["id"], "error": error})
    form = server["envelope"] if method in LISTS else ENVELOPES[0]
    return str(form).replace("@", number).replace("#", written(result, server["style"]), 1)


def _result(server: dict[str, Any], method: str, params: dict[str, Any]) -> Any:
    if method == ("server/discover" if server["is_modern"] else "initialize"):
        told = {"capabilities": server["capabilities"], "serverInfo": server["identity"]}
        told |= {"instructions": server["instructions"]} if server["instructions"] is not None else {}
        if server["is_modern"]:
            return {"supportedVersions": [MODERN], **told}
        return {"protocolVersion": "2025-11-25", **told}
    if method == "ping" and not server["is_modern"]:
        return {}
    if method == "tools/call":
        return {"content": [{"type": "text", "text": "42"}]}
    if method not in LISTS or method in server["unknown"]:
        return None
    at_once, start = server["at_once"][method], int(params.get("cursor", "0").rpartition("-")[2])
    items = server["lists"][method]
    page: dict[str, Any] = {LISTS[method]: items[start : start + at_once]}
    if start + at_once < len(items):
        page["nextCursor"] = f"{server['cursor']}-{start + at_once}"
    return page


def written(value: Any, style: str) -> str:
    """The value as JSON text."""
    if style in ("spaced", "sorted"):
        return json.dumps(value, sort_keys=style == "sorted", ensure_ascii=style == "sorted")
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    changes = {
        "escaped": ("does", "do\\u0065s"),
        "solidus": ("/", "\\/"),
        "floats": (":1,", ":1.0,"),
        "exponents": (":100}", ":1e2}"),
        "large": (":100}", ":100000000000000000000}"),
        "doubled": ('"name":', '"name":"x","name":'),
    }
    return text.replace(*changes.get(style, ("", "")))


def main() -> None:
    server = json.loads(Path(sys.argv[1]).read_text())
    for line in sys.stdin:
        if (text := answer(server, json.loads(line))) is not None:
            print(text.replace("\r", "").replace("\n", ""), flush=True)


if __name__ == "__main__":
    main()
