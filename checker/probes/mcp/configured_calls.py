"""The calls named in the config: a tool call, a resource read, a prompt get; nothing else is ever called."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from time import perf_counter
from typing import Any

from checker.model import Reason, Status
from checker.probes.base import Complaint, Observation, Transport
from checker.probes.conditions import found_in, json_unmet_in, too_slow
from checker.probes.mcp import large_messages
from checker.probes.mcp.list_pages import Ask, Offer
from checker.probes.mcp.options import Call
from checker.probes.mcp.param_headers import header_fault, header_value, param_headers
from checker.probes.mcp.rpc_channel import Answer
from checker.probes.offload import TooMuch
from checker.probes.option_validation import Fault, jsonpath_fault, regex_fault
from checker.secrets.excerpts import excerpt


def make_calls(transport: Transport, ask: Ask, calls: tuple[Call, ...], offer: Offer, seen: Observation) -> None:
    """Make each call in turn and complain about unmet conditions; raises ProbeFailure if a call breaks."""
    listed = offer.lists.get("tools", [])
    if isinstance(listed, large_messages.Pages):
        tools = large_messages.tools_named(listed, [call.tool for call in calls if call.tool is not None])
    else:
        tools = {str(tool.get("name")): tool for tool in listed}
    with transport.timed("call"):
        for call in calls:
            seen.complaints += _complaints(ask, call, tools)


def call_faults(calls: tuple[Call, ...]) -> Iterator[Fault]:
    """Contradictions in the calls of a config."""
    for place, call in enumerate(calls):
        where = f"calls[{place}]"
        if sum(one is not None for one in (call.tool, call.resource, call.prompt)) != 1:
            yield (where,), "write one of tool:, resource: and prompt:"
        if call.resource is not None and call.arguments:
            yield (where, "arguments"), "a resource has none; remove them"
        if call.expect.is_error and call.tool is None:
            yield (where, "expect", "is_error"), "only a tool reports an error of its own; remove it"
        if fault := regex_fault(call.expect.text_regex):
            yield (where, "expect", "text_regex"), fault
        for index, condition in enumerate(call.expect.json):
            if fault := jsonpath_fault(condition.path) or regex_fault(condition.matches):
                yield (where, "expect", f"json[{index}]"), fault


def _complaints(ask: Ask, call: Call, tools: Mapping[str, Mapping[str, Any]]) -> list[Complaint]:
    what = _spelled(call)
    if call.tool is not None:
        tool = tools.get(call.tool)
        if tool is None:
            return [_complaint(Reason.MCP_MISSING_TOOL, f"{what}: not listed")]
        if fault := header_fault(tool.get("inputSchema")):
            return [_complaint(Reason.MCP_SCHEMA_INVALID, f"{what}: not called, {fault}")]
    start = perf_counter()
    answer = _ask(ask, call, tools)
    duration_us = round((perf_counter() - start) * 1e6)
    if answer.result is None:
        refused = answer.refused(what)
        return [_complaint(refused.reason, refused.detail)]
    if isinstance(answer.result, large_messages.LargeResult):
        return [_named(one, what) for one in large_messages.judge_call(call, answer.result, duration_us)]
    try:
        return [_named(one, what) for one in unmet(call, answer.result, duration_us)]
    except TooMuch as much:
        return [_complaint(Reason.CONDITION_FAILED, f"{what}: the answer {much}")]


def _ask(ask: Ask, call: Call, tools: Mapping[str, Mapping[str, Any]]) -> Answer:
    if call.tool is not None:
        schema = tools[call.tool].get("inputSchema")
        headers = {"Mcp-Name": header_value(call.tool), **param_headers(schema, call.arguments)}
        return ask("tools/call", {"name": call.tool, "arguments": dict(call.arguments)}, headers)
    if call.prompt is not None:
        params: dict[str, Any] = {"name": call.prompt}
        if call.arguments:
            params["arguments"] = dict(call.arguments)
        return ask("prompts/get", params, {"Mcp-Name": header_value(call.prompt)})
    uri = call.resource or ""
    return ask("resources/read", {"uri": uri}, {"Mcp-Name": header_value(uri)})


def unmet(call: Call, result: Mapping[str, Any], duration_us: int) -> Iterator[Complaint]:
    """The conditions that the result of a call does not meet."""
    expect = call.expect
    if result.get("resultType", "complete") != "complete":
        yield _complaint(
            Reason.CONDITION_FAILED, f"asks for {excerpt(str(result['resultType']), 40)} instead of answering"
        )
        return
    member = "content" if call.tool is not None else "messages" if call.prompt is not None else "contents"
    if not isinstance(result.get(member), list):
        yield _complaint(Reason.MCP_INVALID_RESULT, f"{member} is not a list")
        return
    text = "\n".join(_texts(result[member]))
    if call.tool is not None and bool(result.get("isError")) != expect.is_error:
        said = f"reports an error: {excerpt(text, 120)}" if result.get("isError") else "reports no error, expected one"
        yield _complaint(Reason.CONDITION_FAILED, said)
        return
    if expect.text_regex is not None and not found_in(expect.text_regex, text):
        yield _complaint(
            Reason.CONDITION_FAILED, f"text is {excerpt(text, 60)!r}, does not match {expect.text_regex!r}"
        )
    yield from json_unmet_in(result, expect.json)
    if expect.max_latency is not None and duration_us > expect.max_latency * 1e6:
        yield too_slow(duration_us, expect.max_latency, Status.UNHEALTHY)
    elif expect.degraded_above is not None and duration_us > expect.degraded_above * 1e6:
        yield too_slow(duration_us, expect.degraded_above, Status.DEGRADED)


def _texts(items: list[Any]) -> Iterator[str]:
    """The texts of content blocks, resource contents and prompt messages."""
    for item in items:
        block = item.get("content", item) if isinstance(item, dict) else None
        if isinstance(block, dict) and isinstance(block.get("text"), str):
            yield block["text"]


def _spelled(call: Call) -> str:
    if call.tool is not None:
        return f"tool {excerpt(call.tool, 60)}"
    if call.prompt is not None:
        return f"prompt {excerpt(call.prompt, 60)}"
    return f"resource {excerpt(call.resource or '', 80)}"


def _complaint(reason: Reason, detail: str) -> Complaint:
    return Complaint(Status.UNHEALTHY, reason, detail, "call")


def _named(complaint: Complaint, what: str) -> Complaint:
    return Complaint(complaint.status, complaint.reason, f"{what}: {complaint.detail}", "call")
