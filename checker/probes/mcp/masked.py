"""The contract of an offer in which a server may have repeated a secret of its caller."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from checker.contract.canonical import Contract, canonical
from checker.secrets.current import current


def masked_canonical(document: Mapping[str, Any]) -> Contract:
    """As `canonical`, with secrets masked before the digest is made: it is no way to guess what was masked."""
    contract = canonical(document)
    if current().suspects(contract.text):
        contract = canonical(current().value(document))
    return contract
