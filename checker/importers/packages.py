"""Packages of the MCP registry as the command that fetches and starts them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from checker.importers import look
from checker.importers.imported import Entry, Unusable
from checker.importers.inputs import Naming, blocks, given, value, word
from checker.importers.variables import escaped

RUNTIMES = {"npm": "npx", "pypi": "uvx", "oci": "docker"}
"""Kind of package registry -> the program that runs its packages."""

# What begins with a dash would be an option of the program, and could make it run anything.
_IDENTIFIER = re.compile(r"[@A-Za-z0-9][\w.@/:+-]{0,400}", re.ASCII)
_VERSION = re.compile(r"[A-Za-z0-9][\w.+!-]{0,100}", re.ASCII)


def package_options(block: Mapping[str, Any], naming: Naming, notes: list[str]) -> Entry:
    """The ``mcp:`` block that starts a package; raises Unusable, adds to the notes."""
    transport = value(block, "transport")
    kind = word(transport, "type") if isinstance(transport, dict) else None
    if look.transport(kind or "stdio") != "stdio":
        raise Unusable("it serves HTTP once it is started; start it, and check its address")
    runtime = _runtime(block)
    identifier, version = word(block, "identifier") or word(block, "name"), word(block, "version")
    if identifier is None or not _IDENTIFIER.fullmatch(identifier):
        raise Unusable("its identifier is missing, or not one of a package")
    if version is not None and not _VERSION.fullmatch(version):
        raise Unusable("its version is not valid")
    if word(block, "registryBaseUrl") not in (None, *_USUAL):
        notes.append("registryBaseUrl is ignored; the package is looked for where its runtime usually does")
    env = _environment(block, naming)
    before = _arguments(block, "runtimeArguments", naming)
    after = _arguments(block, "packageArguments", naming)
    found: Entry = {"command": runtime, "args": [*_started(runtime, identifier, version, before, list(env)), *after]}
    if env:
        found["env"] = env
    return found


_USUAL = (
    *("https://registry.npmjs.org", "https://registry.npmjs.org/", "https://pypi.org", "https://pypi.org/"),
    *("https://docker.io", "https://docker.io/"),
)


def _runtime(block: Mapping[str, Any]) -> str:
    """The program: the one that is hinted at if it is one of ours, else by the kind of registry."""
    hint, kind = word(block, "runtimeHint"), word(block, "registryType") or word(block, "registryName")
    if hint in RUNTIMES.values():
        return str(hint)
    if kind in RUNTIMES:
        return RUNTIMES[kind]
    if kind == "docker":  # as files from before September 2025 have it
        return "docker"
    named = f'"{kind}"' if kind and re.fullmatch(r"[A-Za-z]{1,16}", kind) else "its registry"
    raise Unusable(f"packages of {named} are not supported; npm, pypi and oci are")


def _started(runtime: str, identifier: str, version: str | None, before: list[str], env: list[str]) -> list[str]:
    """The arguments up to the package."""
    if runtime == "npx":
        unasked = [] if {"-y", "--yes"} & set(before) else ["-y"]
        return [*unasked, *before, f"{identifier}@{version}" if version else identifier]
    if runtime == "uvx":
        return [*before, f"{identifier}=={version}" if version and version != "latest" else identifier]
    tagged = "@" in identifier or ":" in identifier.rpartition("/")[2]
    image = identifier if tagged or not version else f"{identifier}:{version}"
    # a container sees only the variables that docker is told to hand on
    handed_on = [f"--env={name}" for name in env if not any(one.partition("=")[0] == name for one in before)]
    return ["run", "-i", "--rm", *handed_on, *before, image]


def _arguments(block: Mapping[str, Any], key: str, naming: Naming) -> list[str]:
    found: list[str] = []
    for argument in blocks(block, key):
        named = word(argument, "name") if word(argument, "type") == "named" else None
        hint = word(argument, "valueHint")
        wants = hint or argument.get("format") or argument.get("choices") or argument.get("placeholder")
        required = look.flag(argument, "isRequired") or look.flag(argument, "is_required")
        if named and required and not wants and argument.get("value") is None and argument.get("default") is None:
            found.append(escaped(named))  # a switch
            continue
        text = given(argument, hint or (named or "argument").lstrip("-"), naming)
        if text is not None:
            found += [escaped(named), text] if named else [text]
    return found


def _environment(block: Mapping[str, Any], naming: Naming) -> dict[str, str]:
    found: dict[str, str] = {}
    for variable in blocks(block, "environmentVariables"):
        name = word(variable, "name")
        if name is None:
            raise Unusable("an environment variable without a name")
        text = given(variable, name, naming)
        if text is not None:
            found[name] = text
    return look.environment(found)
