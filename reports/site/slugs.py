"""Names of servers as names of files: letters, digits and hyphens, each name another file, whatever the name is."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Collection, Mapping

_LONGEST = 60
_OTHER = re.compile(r"[^a-z0-9]+")
_TAKEN = re.compile(r".*-uptime-30d|.*-[0-9a-f]{10,}")
"""What ends like a badge or like a digest could be the file of another name."""


def slugs(names: Collection[str]) -> Mapping[str, str]:
    """A slug for each name: the name itself where it is one, else what can be kept of it.

    A digest of the name follows where that is nothing, was cut, or belongs to more than one name, so that no name
    can take the file of another, and which file a name has depends on no order.
    """
    kept = {name: _kept(name) for name in names}
    claims: dict[str, list[str]] = {}
    for name, slug in kept.items():
        claims.setdefault(slug, []).append(name)
    return {
        name: slug if _may_have(name, slug, claims[slug]) else _with_digest(name, slug) for name, slug in kept.items()
    }


def _may_have(name: str, slug: str, claims: Collection[str]) -> bool:
    if not slug or _TAKEN.fullmatch(slug):
        return False
    return name == slug or (len(claims) == 1 and len(slug) < _LONGEST)


def _with_digest(name: str, slug: str) -> str:
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{slug}-{digest}" if slug else f"server-{digest}"


def _kept(name: str) -> str:
    """The name in small letters without accents, and hyphens for the rest."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return _OTHER.sub("-", plain).strip("-")[:_LONGEST].strip("-")
