"""A server's offer, judged and turned into its contract: tools, schemas, digest, counts, secrets masked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from functools import lru_cache
from typing import Any

import orjson
from msgspec.structs import replace

from checker.contract.canonical_form import Contract, canonical, dumps
from checker.model import ContractSnapshot, McpFacts, Reason, RemarkName, Status
from checker.probes.base import Complaint, Observation
from checker.probes.mcp import large_messages
from checker.probes.mcp.known_contract import CONTRACT_DIGEST, CONTRACT_SOURCE, source_value
from checker.probes.mcp.known_replies import Readings, may_hold_secret
from checker.probes.mcp.list_pages import Offer
from checker.probes.mcp.param_headers import header_fault
from checker.probes.mcp.result_types import SCHEMA, TOOL, TOOL_BESIDES_INPUT, Refusal, is_accepted, refusals, refused
from checker.probes.offload import breathe
from checker.secrets.excerpts import excerpt
from checker.secrets.known_secrets import current

_MOST_NAMED = 3


def tool_complaints(tools: list[Mapping[str, Any]], expected: tuple[str, ...]) -> list[Complaint]:
    """Faults of the tool list: missing expected tools, parts that clients refuse, invalid schemas.

    An oddity that clients accept is a complaint too, of status HEALTHY: a remark.
    """
    names = [tool.get("name") for tool in tools]
    found = []
    if missing := [name for name in expected if name not in names]:
        found.append(Complaint(Status.UNHEALTHY, Reason.MCP_MISSING_TOOL, f"not listed: {_some(missing)}", "list"))
    unusable: list[Refusal] = []
    faults = []
    for place, tool in enumerate(tools):
        accepted, fault = False, None
        if is_accepted(tool, TOOL_BESIDES_INPUT) and "inputSchema" in tool:
            accepted, fault = _schema_verdict(tool["inputSchema"])
        if not accepted or fault is not None:
            name = tool.get("name")
            called = excerpt(name, 40) if isinstance(name, str) and name else f"tool {place + 1}"
            unusable += refusals(tool, TOOL, called)
            if fault is not None:
                faults.append(f"{called}: {fault}")
        breathe()
    found += refused(unusable, "tools/list", "list", Reason.MCP_SCHEMA_INVALID)
    if faults:
        found.append(Complaint(Status.DEGRADED, Reason.MCP_SCHEMA_INVALID, _some(faults, "; "), "list"))
    texts = [name for name in names if isinstance(name, str)]
    if len(different := set(texts)) < len(texts) or "" in different:
        odd = sorted(name for name, count in Counter(texts).items() if count > 1)
        said = [f"listed more than once: {_some(odd)}"] if odd else []
        if "" in different:
            said.append("a tool whose name is empty")
        found.append(Complaint(Status.HEALTHY, Reason.REMARK, f"tools/list: {'; '.join(said)}", "list"))
    return found


def _schema_verdict(schema: Any) -> tuple[bool, str | None]:
    """True if clients accept the input schema, and then its fault: it may be one that cannot be given to a model."""
    try:
        accepted, fault = _verdict_on(dumps(schema))
    except ValueError as error:
        accepted, fault = is_accepted(schema, SCHEMA), f"is {error}"
    return accepted, f"inputSchema {fault}" if fault else None


@lru_cache(maxsize=4096)  # tools have many schemas in common, within a server and among servers
def _verdict_on(text: bytes) -> tuple[bool, str | None]:
    from checker.probes.mcp.schema_dialects import schema_fault

    schema = orjson.loads(text)
    if not is_accepted(schema, SCHEMA):
        return False, None
    if b"x-mcp-header" in text and (fault := header_fault(schema)) is not None:
        return True, f"marks a header that cannot be: {fault}"
    return True, schema_fault(schema)


def _some(items: list[str], separator: str = ", ") -> str:
    more = f"{separator}and {len(items) - _MOST_NAMED} more" if len(items) > _MOST_NAMED else ""
    return separator.join(excerpt(item, 120) for item in items[:_MOST_NAMED]) + more


def masked_canonical(document: Mapping[str, Any]) -> tuple[Contract, bool]:
    """Like `canonical`, with secrets masked before the digest is made, which must not help to guess them.

    The second value is True if there may have been any.
    """
    contract = canonical(document)
    if current().suspects(contract.text):
        return canonical(current().value(document)), True
    return contract, False


def note(
    offer: Offer, expected_tools: tuple[str, ...], facts: McpFacts, seen: Observation, memory: Mapping[str, str]
) -> McpFacts:
    """The facts with the contract's digest and counts; a contract that is new to the endpoint is handed on.

    A contract with an unreadable list has no digest: it would be taken for a change.
    """
    if (earlier := offer.known) is not None:
        seen.remember[CONTRACT_DIGEST], seen.remember[CONTRACT_SOURCE] = earlier.digest, earlier.source
        return earlier.added_to(facts)
    source = _source(offer, expected_tools, facts)
    if source is not None and (known := _NOTED.get(source)) is not None and not current().suspects(known[1].document):
        facts, snapshot, came_in = known
        seen.remember[CONTRACT_DIGEST] = snapshot.digest
        if came_in is not None:
            seen.remember[CONTRACT_SOURCE] = came_in
        if memory.get(CONTRACT_DIGEST) != snapshot.digest:
            seen.snapshot = snapshot
        return facts
    contract, complaints, is_masked = _judged(offer, expected_tools, memory.get(CONTRACT_DIGEST))
    for one in complaints:
        if one.status is Status.HEALTHY:
            seen.remark(RemarkName.RESULT_SHAPE, one.detail)
        else:
            seen.complaints.append(one)
    if contract is None:
        return facts
    digest = contract.digest if offer.complete else None
    facts = replace(
        facts,
        tool_count=contract.tool_count,
        resource_count=contract.resource_count,
        template_count=contract.template_count,
        prompt_count=contract.prompt_count,
        tools_bytes=contract.tools_bytes,
        tools_tokens=contract.tools_tokens,
        tools_digest=contract.tools_digest,
        contract_digest=digest,
    )
    if digest is not None:
        seen.remember[CONTRACT_DIGEST] = digest
        snapshot = ContractSnapshot(digest=digest, document=contract.text)
        if memory.get(CONTRACT_DIGEST) != digest:
            seen.snapshot = snapshot
        if offer.sources is not None and source is not None and not (complaints or is_masked):
            came_in = source_value(contract, offer.sources, expected_tools, facts) if offer.is_accepted else None
            if came_in is not None:
                seen.remember[CONTRACT_SOURCE] = came_in
            _NOTED.note(source, (facts, snapshot, came_in), sum(map(len, offer.sources)))
    return facts


_NOTED: Readings[tuple[McpFacts, ContractSnapshot, str | None]] = Readings(1024 * 1024)
"""Contracts without a fault, by all that they follow from."""


def _source(offer: Offer, expected_tools: tuple[str, ...], facts: McpFacts) -> Hashable | None:
    """All that the outcome of `note` follows from; None if there is more than texts without a secret."""
    if offer.sources is None or (current().masks_anything and any(map(may_hold_secret, offer.sources))):
        return None
    return facts.era, facts.transport, expected_tools, *offer.sources


def _judged(
    offer: Offer, expected_tools: tuple[str, ...], known: str | None
) -> tuple[Contract | None, list[Complaint], bool]:
    """The contract, or None if there can be none, complaints about it and its tools, and True for one with a mask."""
    document = offer.document()
    if any(isinstance(one, large_messages.Pages) for one in offer.lists.values()):
        return *large_messages.judge_offer(document, expected_tools, known), True
    listed = offer.lists.get("tools")
    found = tool_complaints(listed, expected_tools) if isinstance(listed, list) else []
    try:
        contract, is_masked = masked_canonical(document)
        return contract, found, is_masked
    except ValueError as error:
        fault = f"what the server offers is {error}"
        return None, [*found, Complaint(Status.DEGRADED, Reason.MCP_INVALID_RESULT, fault, "list")], False
