"""What a server offers as its contract: digest and counts with every check, the text when it is new."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from checker.contract.canonical import Contract
from checker.model import ContractSnapshot, McpFacts, Reason, RemarkName, Status
from checker.probes.base import Complaint, Observation
from checker.probes.mcp import large, tools
from checker.probes.mcp.lists import Offer
from checker.probes.mcp.masked import masked_canonical

CONTRACT_DIGEST = "mcp_contract_digest"
"""Cache category: the digest of the contract that an endpoint had last."""


def note(
    offer: Offer, expected_tools: tuple[str, ...], facts: McpFacts, seen: Observation, memory: Mapping[str, str]
) -> McpFacts:
    """The facts with the contract's digest and counts; a contract that is new to the endpoint is handed on.

    One of which a list could not be read has no digest: it would be taken for a change.
    """
    contract, complaints = _judged(offer, expected_tools, memory.get(CONTRACT_DIGEST))
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
        if memory.get(CONTRACT_DIGEST) != digest:
            seen.snapshot = ContractSnapshot(digest=digest, document=contract.text)
    return facts


def _judged(
    offer: Offer, expected_tools: tuple[str, ...], known: str | None
) -> tuple[Contract | None, list[Complaint]]:
    """The contract, or None where there can be none, and complaints about it and the tools in it."""
    document = offer.document()
    if any(isinstance(one, large.Pages) for one in offer.lists.values()):
        return large.judge_offer(document, expected_tools, known)
    listed = offer.lists.get("tools")
    found = tools.complaints(listed, expected_tools) if isinstance(listed, list) else []
    try:
        return masked_canonical(document), found
    except ValueError as error:
        fault = f"what the server offers is {error}"
        return None, [*found, Complaint(Status.DEGRADED, Reason.MCP_INVALID_RESULT, fault, "list")]
