"""A ``server.json`` of the MCP registry as entries of our configuration: remotes, packages, inputs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from checker.importers import values
from checker.importers import values as look
from checker.importers.entries import (
    Entry,
    Imported,
    ServerNames,
    Unusable,
    escaped,
    one_line,
    reference,
    variable_name,
)

BRACED = re.compile(r"\{([^{}]*)\}")
"""A placeholder of the registry."""


@dataclass(frozen=True, slots=True)
class Naming:
    """Names for the variables of a server."""

    server: str = ""
    """Prefix of their names; in a listing each server has its own, so that none gets another's credential."""

    def variable(self, key: str) -> str:
        """The environment variable for the registry's ``key``."""
        return variable_name(self.server, key)


def value(values: Mapping[str, Any], key: str) -> Any:
    """The value of a key, in camelCase or in the spelling of files from before September 2025."""
    found = values.get(key)
    return values.get(re.sub(r"(?=[A-Z])", "_", key).lower()) if found is None else found


def blocks(values: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """The list of mappings under a key; raises Unusable for anything else."""
    listed = value(values, key)
    if listed is None:
        return []
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise Unusable(f"{key} is not a list of objects")
    return listed


def word(values: Mapping[str, Any], key: str) -> str | None:
    """The text under a key, in either spelling; None if there is none."""
    return look.text({key: value(values, key)}, key)


def given(block: Mapping[str, Any], key: str, naming: Naming) -> str | None:
    """The value of a registry input: its value, its default, or a variable if it is required.

    None for an optional one without a default.
    """
    for source in ("value", "default"):
        plain = look.texts({source: [block[source]]}, source)[0] if block.get(source) is not None else None
        if plain is not None:
            return filled(plain, block, naming)
    required, secret = (
        look.flag(block, camel) or look.flag(block, snake)
        for camel, snake in (("isRequired", "is_required"), ("isSecret", "is_secret"))
    )
    wanted = required or (secret and value(block, "isRequired") is not False)
    return reference(naming.variable(key)) if wanted else None


def filled(template: str, block: Mapping[str, Any], naming: Naming) -> str:
    """The template with each ``{name}`` that is listed in its ``variables`` filled in; others are left as they are."""
    variables = block.get("variables")
    if variables is not None and not isinstance(variables, dict):
        raise Unusable("variables is not a mapping")
    known = variables or {}

    def fill(match: re.Match[str]) -> str:
        described = known.get(match[1])
        if not isinstance(described, dict):
            return match[0]
        found = given({**described, "variables": None}, match[1], naming)
        return reference(naming.variable(match[1]), "") if found is None else found

    return BRACED.sub(fill, escaped(template))


RUNTIMES = {"npm": "npx", "pypi": "uvx", "oci": "docker"}
"""Kind of package registry -> the program that runs its packages."""

# What begins with a dash would be an option of the program, and could make it run anything.
_IDENTIFIER = re.compile(r"[@A-Za-z0-9][\w.@/:+-]{0,400}", re.ASCII)
_VERSION = re.compile(r"[A-Za-z0-9][\w.+!-]{0,100}", re.ASCII)


def package_options(block: Mapping[str, Any], naming: Naming, notes: list[str]) -> Entry:
    """The ``mcp:`` block that starts a package; raises Unusable, adds to the notes."""
    transport = value(block, "transport")
    kind = word(transport, "type") if isinstance(transport, dict) else None
    if values.transport(kind or "stdio") != "stdio":
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
    """The program: the hinted one if it is supported, else chosen by the kind of registry."""
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
    """The arguments before the package."""
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
        required = values.flag(argument, "isRequired") or values.flag(argument, "is_required")
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
    return values.environment(found)


def server(document: Mapping[str, Any], names: ServerNames, naming: Naming) -> Imported:
    """The entries of a server: one for each remote, else one for the first package that can be started."""
    entries: list[Entry] = []
    wanted = document.get("name")
    wanted = wanted if isinstance(wanted, str) else ""
    said: list[str] = []

    def add(options: Entry) -> None:
        name = names.unique(wanted)
        entries.append({"name": escaped(name), "mcp": options})

    for kind, convert in (("remotes", remote_options), ("packages", package_options)):
        try:
            listed = blocks(document, kind)
        except Unusable as why:
            said.append(str(why))
            continue
        for block in listed:
            try:
                add(convert(block, naming, said))
            except Unusable as why:
                said.append(f"left out a {kind.removesuffix('s')}: {why}")
                continue
            if kind == "packages":  # the others are the same server, packed in another way
                break
        if entries:
            break
    if not entries and not said:
        said.append("left out: neither remotes nor packages")
    notes = [one_line(f"{wanted or 'server'}: {text}") for text in dict.fromkeys(said)]
    return Imported(tuple(entries), tuple(notes))


def remote_options(block: Mapping[str, Any], naming: Naming, notes: list[str]) -> Entry:
    """The ``mcp:`` block of a remote; raises Unusable, adds to the notes."""
    url = word(block, "url")
    if url is None:
        raise Unusable("no address")
    kind = values.transport(word(block, "type") or word(block, "transportType"))
    if kind == "stdio":
        raise Unusable("a remote cannot be stdio")
    found: Entry = {"url": values.address(filled(url, block, naming))}
    if left := [name for name in BRACED.findall(found["url"].replace("${", "")) if name]:
        notes.append(f"nothing says what {{{left[0]}}} in the address stands for")
    if kind:
        found["transport"] = kind
    headers: dict[str, str] = {}
    for header in blocks(block, "headers"):
        name = word(header, "name")
        if name is None:
            raise Unusable("a header without a name")
        if (text := given(header, name, naming)) is not None:
            headers[name] = text
    if headers:
        found["headers"] = values.headers(headers)
    return found
