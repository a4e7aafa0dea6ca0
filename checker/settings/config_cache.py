"""A cached, validated configuration in encrypted form, readable only while everything it was made from is unchanged.

It is encrypted (AES-256-GCM) under a key that is derived from the content of the file, of the files and variables it
reads, and the program's version. Anyone who has only the text learns the names of those files and variables. Opening it
imports neither the YAML reader nor the validator, which is its purpose.
"""

from __future__ import annotations

import base64
import gc
import os
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Any

import orjson
from msgspec import Struct
from msgspec.structs import fields, replace

from checker.model import Server
from checker.settings.selection import selected_environment
from checker.structs import Record
from checker.version import VERSION
from checker.wire import PROTOCOL, packed, reader

if TYPE_CHECKING:
    from checker.settings.blocks import Settings

_ALWAYS = "HOME"
"""Paths that begin with ~ depend on it."""
_STANDARD_INPUT = "-"
_NONCE_BYTES = 12
_PURPOSE = b"mcp-status-check configuration, in parts"


class Ingredients(Struct, frozen=True):
    """Everything that determines the settings."""

    path: str
    """Absolute path of the file."""
    environment: str | None
    document: bytes
    variables: Mapping[str, str | None]
    """Variables that were read; None for one that is not set."""
    files: Mapping[str, tuple[str, str | None]]
    """In the form of `checker.settings.files.Files.seen`."""


class _WatchedEnvironment(Mapping[str, str]):
    """An environment that records which of its variables are read."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.asked: dict[str, str | None] = {}

    def __getitem__(self, name: str) -> str:
        self.asked[name] = self._environ.get(name)
        return self._environ[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._environ)

    def __len__(self) -> int:
        return len(self._environ)


def cache_key(path: Path, environment: str | None, environ: Mapping[str, str] = os.environ) -> str:
    """The cache key of this file's settings: its path, and the selected environment."""
    selected = selected_environment(environment, environ)[0]
    return str(path.absolute()) + (f" ({selected})" if selected else "")


def loaded(
    path: Path, environment: str | None, environ: Mapping[str, str] = os.environ
) -> tuple[Settings, Ingredients | None]:
    """The settings as from `checker.settings.load.load`, and their ingredients; raises ConfigError.

    The ingredients are None for a file that cannot be read twice, such as a pipe, or that changed meanwhile.
    """
    from checker.settings.files import Files
    from checker.settings.load import load

    before, watched, files = _content(path), _WatchedEnvironment(environ), Files(path.parent)
    settings = load(path, environment, watched, files)
    regular = all(content is None or _is_regular(name) for name, (_, content) in files.seen.items())
    if before is None or before != _content(path) or not regular:
        return settings, None
    variables = {**watched.asked, _ALWAYS: environ.get(_ALWAYS)}
    return settings, Ingredients(str(path.absolute()), settings.environment, before, variables, files.seen)


def encode_settings(settings: Settings, made_of: Ingredients) -> str | None:
    """The text for the cache; None if the settings cannot be encoded, such as for a variable that is not UTF-8."""
    try:
        names = orjson.dumps([sorted(made_of.variables), sorted(made_of.files)])
        content = packed(_in_parts(settings))
        cipher = _cipher(made_of)
    except (TypeError, UnicodeEncodeError):
        return None
    nonce = os.urandom(_NONCE_BYTES)
    return _text(names) + " " + _text(nonce + cipher.encrypt(nonce, zlib.compress(content, 1), names))


def opened(text: str, path: Path, environment: str | None, environ: Mapping[str, str] = os.environ) -> Settings | None:
    """The settings in a text from `encode_settings`; None if any of their ingredients has changed."""
    try:
        names, encoded = (base64.b64decode(part, validate=True) for part in text.split(" "))
        variables, files = orjson.loads(names)
        made_of = _now(path, selected_environment(environment, environ)[0], variables, files, environ)
        if made_of is None:
            return None
        content = _cipher(made_of).decrypt(encoded[:_NONCE_BYTES], encoded[_NONCE_BYTES:], names)
    except (ValueError, TypeError, OSError, zlib.error, _invalid_tag()):
        return None
    return replace(_settings(zlib.decompress(content)), path=str(path))


def _now(
    path: Path, environment: str | None, variables: list[str], files: list[str], environ: Mapping[str, str]
) -> Ingredients | None:
    """The current ingredients of the settings; None if a file no longer exists; raises OSError."""
    document = _content(path)
    if document is None:
        return None
    found: dict[str, tuple[str, str | None]] = {}
    for name in files:
        resolved = str(Path(name).resolve())
        if not _is_regular(name):
            found[name] = resolved, None  # a folder to start in
            continue
        found[name] = resolved, Path(name).read_text(encoding="utf-8")
    return Ingredients(
        str(path.absolute()), environment, document, {name: environ.get(name) for name in variables}, found
    )


class SettingsInParts(Record, frozen=True):
    """Settings of which most blocks are at their defaults, and need not be decoded."""

    servers: tuple[Server, ...]
    others: dict[str, bytes]
    """Field that is not at its default -> its value, packed."""


def _in_parts(settings: Settings) -> SettingsInParts:
    usual = type(settings)(servers=())
    values = {name: getattr(settings, name) for name in settings.__struct_fields__ if name != "servers"}
    differing = {name: packed(value) for name, value in values.items() if value != getattr(usual, name)}
    return SettingsInParts(settings.servers, differing)


def _settings(content: bytes) -> Settings:
    from checker.probes import with_options
    from checker.settings.blocks import Settings

    enabled = gc.isenabled()
    gc.disable()  # as in `load`: a large configuration is a million small objects
    try:
        parts: SettingsInParts = reader(SettingsInParts)(content)
        for server in parts.servers:
            with_options(server)
        types = {field.name: field.type for field in fields(Settings)} if parts.others else {}
        others = {name: reader(types[name])(value) for name, value in parts.others.items()}
        return Settings(servers=parts.servers, **others)
    finally:
        if enabled:
            gc.enable()


def _cipher(made_of: Ingredients) -> Any:
    """AES-GCM under the key derived from these ingredients; raises TypeError if they are not all text."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    whole = orjson.dumps(
        [
            VERSION,
            PROTOCOL,
            made_of.path,
            made_of.environment,
            base64.b64encode(made_of.document).decode(),
            sorted(made_of.variables.items()),
            sorted(made_of.files.items()),
        ]
    )
    return AESGCM(HKDF(SHA256(), length=32, salt=None, info=_PURPOSE).derive(whole))


def _invalid_tag() -> type[Exception]:
    from cryptography.exceptions import InvalidTag

    return InvalidTag


def _content(path: Path) -> bytes | None:
    """The content of a regular file; None for anything else: reading a pipe would empty it."""
    try:
        return path.read_bytes() if _is_regular(str(path)) and str(path) != _STANDARD_INPUT else None
    except OSError:
        return None


def _is_regular(path: str) -> bool:
    try:
        return S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
