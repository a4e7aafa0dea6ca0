"""Servers as Codex lists them in its ``config.toml``, where credentials are named by their environment variables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from checker.importers import look
from checker.importers.clients import ClientFormat, options
from checker.importers.imported import Entry, Unusable
from checker.importers.variables import is_name, reference

_OWN = ("bearer_token_env_var", "http_headers", "env_http_headers", "env_vars", "headers")


def codex_options(block: Mapping[str, Any], client: ClientFormat, notes: list[str]) -> Entry:
    """The options of the ``mcp:`` block; raises Unusable, adds to the notes."""
    if block.get("headers"):
        notes.append("headers is no key of Codex and is ignored; http_headers is")
    shared = {key: value for key, value in block.items() if key not in _OWN}
    found = options({**shared, "headers": block.get("http_headers")}, client, notes)
    if "command" in found:
        passed_on = {name: reference(_known(name)) for name in look.texts(block, "env_vars")}
        if env := {**passed_on, **found.get("env", {})}:
            found["env"] = env
        return found
    named = {header: reference(_known(name)) for header, name in look.texts_by_name(block, "env_http_headers").items()}
    if headers := {**found.get("headers", {}), **look.headers(named)}:
        found["headers"] = headers
    token = look.text(block, "bearer_token_env_var")
    if token and "authorization" in map(str.lower, headers):
        notes.append("bearer_token_env_var is ignored: an Authorization header is set as well")
    elif token:
        found["bearer"] = reference(_known(token))
    return found


def _known(name: str) -> str:
    if not is_name(name):
        raise Unusable("a name of an environment variable is not valid")
    return name
