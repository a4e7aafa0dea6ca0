"""Large work that can be done elsewhere: functions on content from servers, on records and plain data alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orjson
from msgspec.structs import replace

from checker.contract.canonical_form import KEYS
from checker.model import Reason
from checker.probes import conditions
from checker.probes.base import Complaint
from checker.probes.bodies import TooDeep, TooManyValues, loads
from checker.probes.conditions import JsonCondition
from checker.probes.mcp import contract as offer
from checker.probes.mcp.configured_calls import unmet
from checker.probes.mcp.contract import masked_canonical
from checker.probes.mcp.options import Call
from checker.secrets.excerpts import excerpt
from checker.wire import rebuilt

_KEPT_BYTES = 64 * 1024
_KEPT_TEXT = 1024 * 1024
_KEPT_NAMES = 100
_NAMED = ("nextCursor", "protocolVersion", "capabilities", "serverInfo", "instructions", "supportedVersions", "isError")

Part = Sequence[Any]
"""Text of a message, and its place in the batch; None if the text is not a batch."""


def find(pattern: str, text: str | bytes) -> bool:
    """True if a regular expression is found in a text."""
    return conditions.found_in(pattern, text)


def judge_json(body: bytes, wanted: Sequence[Any]) -> list[Complaint]:
    """The complaints about a JSON body."""
    return conditions.json_unmet(body, [rebuilt(JsonCondition, one) for one in wanted])


def skim(text: bytes) -> dict[str, Any]:
    """A JSON-RPC message or batch without its large parts, and a summary of those; or the reason why it is not JSON."""
    try:
        document = loads(text)
    except TooManyValues as error:
        return {"reason": Reason.BODY_TOO_LARGE, "fault": str(error)}
    except TooDeep as error:
        return {"reason": Reason.MCP_NOT_JSONRPC, "fault": f"answered {error}"}
    except orjson.JSONDecodeError:
        shown = f"not JSON: {excerpt(text, 80)!r}" if text.strip() else "an empty body"
        return {"reason": Reason.MCP_NOT_JSONRPC, "fault": f"answered {shown}"}
    if isinstance(document, list):
        return {"is_batch": True, "messages": [_slim(one) for one in document]}
    return {"is_batch": False, "messages": [_slim(document)]}


def judge_offer(head: bytes, lists: dict[str, list[Part]], expected: Sequence[str], known: str | None) -> Any:
    """The contract of an offer, its text only if its digest is not the known one, and complaints about its tools."""
    document = orjson.loads(head)
    document |= {member: _items(member, parts) for member, parts in lists.items()}
    found = [] if "tools" not in document else offer.tool_complaints(document["tools"], tuple(expected))
    try:
        contract, _ = masked_canonical(document)
    except ValueError as error:
        return {"fault": str(error), "complaints": found}
    if contract.digest == known:
        contract = replace(contract, text="")
    return {"contract": contract, "complaints": found}


def tools_named(parts: list[Part], names: Sequence[str]) -> dict[str, bytes]:
    """The tools with these names, as JSON."""
    wanted, found = set(names), {}
    for item in _items("tools", parts):
        if item.get("name") in wanted and (text := _small(item)) is not None:
            found[item["name"]] = text
    return found


def judge_call(part: Part, call: Any, duration_us: int) -> list[Complaint]:
    """The complaints about the result of a call."""
    return list(unmet(rebuilt(Call, call), _message(part)["result"], duration_us))


JOBS: dict[str, Callable[..., Any]] = {
    "find": find,
    "judge_json": judge_json,
    "skim": skim,
    "judge_offer": judge_offer,
    "tools_named": tools_named,
    "judge_call": judge_call,
}


def _message(part: Part) -> Any:
    text, place = part
    document = orjson.loads(text)
    return document if place is None else document[place]


def _items(member: str, parts: Sequence[Part]) -> list[Any]:
    return [item for part in parts for item in _message(part)["result"][member]]


def _slim(message: Any) -> list[Any]:
    """The message as JSON, and for each large member of its result its item count or None, and if all are objects.

    Large values elsewhere in it are cut: no member that is read there is long in practice.
    """
    if not isinstance(message, dict):
        return [b"null", {}]
    result, held, kept = message.get("result"), {}, {}
    for name in (*list(message)[:_KEPT_NAMES], "jsonrpc", "id", "method", "error"):
        if name in message and name != "result":
            kept[name] = _cut(message[name])
    if isinstance(result, dict):
        slim = {}
        for name in {*list(result)[:_KEPT_NAMES], *KEYS, *_NAMED} & result.keys():
            value = result[name]
            if isinstance(value, dict | list) and _small(value) is None:
                is_list = isinstance(value, list)
                held[name] = [len(value) if is_list else None, all(isinstance(item, dict) for item in value)]
            else:
                slim[name] = value[:_KEPT_TEXT] if isinstance(value, str) else value
        kept["result"] = slim
        if len(slim) + len(held) < len(result):
            held["..."] = [None, False]
    elif "result" in message:
        kept["result"] = _cut(result)
    return [orjson.dumps(kept), held]


def _small(value: Any) -> bytes | None:
    """The value as JSON, if that is short."""
    try:
        text = orjson.dumps(value)
    except TypeError:  # nested too deeply
        return None
    return text if len(text) <= _KEPT_BYTES else None


def _cut(value: Any) -> Any:
    if isinstance(value, str):
        return value[:_KEPT_BYTES]
    if not isinstance(value, dict | list) or _small(value) is not None:
        return value
    if isinstance(value, dict):  # an error with much data
        known = list(value.items())[:10]
        cut = {name: one[:_KEPT_BYTES] for name, one in known if isinstance(one, str)}
        return {name: one for name, one in known if _small(one) is not None} | cut
    return None
