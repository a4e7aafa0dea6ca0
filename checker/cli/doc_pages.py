"""The pages of the documentation as they are installed: for the command that prints them, and for completion."""

from __future__ import annotations

from importlib.resources import files

_INDEX = "README.md"
_ENDINGS = (".md", ".json")


def topics() -> dict[str, str]:
    """Topic -> the text of its page, in the order of their names."""
    folder = files("checker") / "docs"
    there = [one for one in folder.iterdir() if one.name.endswith(_ENDINGS) and one.name != _INDEX]
    found = {one.name.removesuffix(".md").removesuffix(".json"): one for one in there}
    return {name: found[name].read_text(encoding="utf-8") for name in sorted(found)}
