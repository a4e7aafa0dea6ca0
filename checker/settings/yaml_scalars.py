"""Single YAML values, without the silent surprises of YAML 1.1: what only that takes for numbers or dates is text."""

from __future__ import annotations

import math
from typing import Any

import yaml

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Parser and constructor: those of libyaml where it is installed."""
_TAG = "tag:yaml.org,2002:"
TEXT, MERGE = f"{_TAG}str", f"{_TAG}merge"
_PLAIN = {f"{_TAG}{name}" for name in ("str", "int", "float", "bool", "null", "seq", "map", "merge", "timestamp")}
_LONGEST_NUMBER = 19  # digits; what is longer may not fit the 64 bits in which numbers reach the workers


def settled(node: yaml.Node) -> str | None:
    """Turn values that only YAML 1.1 takes for numbers or dates into text; report values that are never allowed."""
    if node.tag == TEXT:
        return None
    if node.tag == f"{_TAG}value":  # a lone "=", for which the loader has no constructor
        node.tag = TEXT
    if node.tag not in _PLAIN:
        return "YAML tags are not supported here; put quotes around text that begins with !"
    if node.tag == f"{_TAG}timestamp" or (node.tag in (f"{_TAG}int", f"{_TAG}float") and ":" in node.value):
        node.tag = TEXT
    elif node.tag == f"{_TAG}int" and len(node.value) > _LONGEST_NUMBER:
        return "the number is too long; put quotes around it if it is text"
    elif node.tag == f"{_TAG}float" and not _finite(node.value):
        return "not a finite number; write one, or put quotes around it if it is text"
    return None


def constructed(node: yaml.ScalarNode, loader: Any) -> Any:
    """The value of a settled scalar; most are text."""
    return node.value if node.tag == TEXT else loader.construct_object(node)


def _finite(spelled: str) -> bool:
    """True if a YAML float is finite; Python cannot parse ``.inf`` and ``.nan``."""
    try:
        return math.isfinite(float(spelled.replace("_", "")))
    except ValueError:
        return False
