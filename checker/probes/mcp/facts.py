"""What a server says of itself, taken with care: every part of it may be missing, huge or of the wrong type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from checker.probes.text import excerpt


def server_identity(info: Any) -> tuple[str | None, str | None]:
    """Name and version of an Implementation object; None for what is not text."""
    if not isinstance(info, dict):
        return None, None
    name, version = info.get("name"), info.get("version")
    return (
        excerpt(name, 200) if isinstance(name, str) else None,
        excerpt(version, 100) if isinstance(version, str) else None,
    )


def capabilities_text(capabilities: Mapping[str, Any]) -> str:
    """The capabilities as canonical JSON text; a size nobody announces in earnest is cut to the names."""
    text = orjson.dumps(capabilities, option=orjson.OPT_SORT_KEYS)
    if len(text) > 10_000:
        text = orjson.dumps({name: {} for name in sorted(capabilities)[:100]})
    return text.decode()


def instructions_text(instructions: Any) -> str | None:
    """The instructions, if they are text; what nobody writes in earnest is cut."""
    return instructions[:100_000] if isinstance(instructions, str) else None
