"""What a server offers as its contract: digest and counts with every check, the text when it is new."""

from __future__ import annotations

from collections.abc import Mapping

from checker.contract.canonical import canonical
from checker.model import ContractSnapshot, McpFacts, Reason, Status
from checker.probes.base import Complaint, Observation
from checker.probes.mcp.lists import Offer
from checker.records import replaced
from checker.secrets.current import current

CONTRACT_DIGEST = "mcp_contract_digest"
"""Cache category: the digest of the contract that an endpoint had last."""


def note(offer: Offer, facts: McpFacts, seen: Observation, memory: Mapping[str, str]) -> McpFacts:
    """The facts with the contract's digest and counts; a contract that is new to the endpoint is handed on.

    One of which a list could not be read has no digest: it would be taken for a change.
    """
    try:
        contract = canonical(offer.document())
        if current().suspects(contract.text):  # before the digest is made: it is no way to guess what was masked
            contract = canonical(current().value(offer.document()))
    except ValueError as error:
        fault = Complaint(Status.DEGRADED, Reason.MCP_INVALID_RESULT, f"what the server offers is {error}", "list")
        seen.complaints.append(fault)
        return facts
    digest = contract.digest if offer.complete else None
    facts = replaced(
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
