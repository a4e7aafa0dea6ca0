"""What reads documents of others and questions, as functions of bytes that raise only where a promise is broken."""

from __future__ import annotations

import os
import tempfile
from functools import cache
from pathlib import Path

from checker.errors import CheckerError, ConfigError
from checker.importers import read
from checker.importers.entries import Imported
from checker.importers.trust import Leave
from checker.settings.import_file import merged_config
from checker.settings.imported import imported_settings
from checker.settings.load import load
from checker.untrusted_text import terminal
from histories import told_history
from storage.sql import ask

TOLD = "value-of-the-environment"
"""What every variable of the environment holds that a document is not to be told."""
NAMES = ("TOKEN", "HOME", "API_KEY", "A", "SERVER_TOKEN", "E_TOKEN", "PATH")


@cache
def folder() -> Path:
    """Where the files lie that are read; nothing else is ever to be there."""
    return Path(tempfile.mkdtemp(prefix="mcp-status-documents-"))


@cache
def _history() -> Path:
    path = folder() / "history.db"
    told_history(path)
    return path


def configuration(data: bytes) -> None:
    """A configuration is loaded, or refused with lines that a terminal can show."""
    file = _file("fleet.yaml", data)
    try:
        found = load(file, None, {})
    except CheckerError as error:
        _shown(error)
    else:
        assert found.servers
    _nothing_else(file)


def foreign(data: bytes, name: str = "mcp.json") -> None:
    """A document of others is told no variable and starts nothing; what is written of it is a configuration."""
    file = _file(name, data)
    environ = dict.fromkeys(NAMES, TOLD)
    try:
        found = imported_settings(str(file), environ)
    except CheckerError as error:
        _shown(error)
        assert TOLD not in str(error)
    else:
        assert TOLD not in repr(found)
        assert not any(getattr(probe, "command", None) for one in found.servers for probe in one.probes.values())
    try:
        imported = read(str(file))
        assert _is_text("".join(imported.notes))
        if imported.entries:
            _written(imported)
            imported_settings(str(file), {}, Leave(commands=True))
    except CheckerError as error:
        _shown(error)
    _nothing_else(file)


def _written(imported: Imported) -> None:
    text, notes = merged_config(None, imported)
    assert _is_text("".join(notes))
    file = folder() / "written.yaml"
    try:
        file.write_text(text, encoding="utf-8")
        load(file, None, {})
    except ConfigError as error:  # for want of a variable, or because a value of the document is not valid here
        _shown(error)
    finally:
        file.unlink(missing_ok=True)


def question(data: bytes) -> None:
    """A statement reads, or is refused; the history stays as it was."""
    file = _history()
    before = file.read_bytes()
    try:
        with ask(file, data.decode("utf-8", "surrogateescape"), 1.0) as answer:
            for _, _ in zip(answer.rows, range(100), strict=False):
                pass
    except CheckerError as error:
        assert str(error).strip(), "an error says something"  # with the user's own words, made text where it is printed
    assert file.read_bytes() == before
    _nothing_else(file)


def _file(name: str, data: bytes) -> Path:
    file = folder() / name
    file.write_bytes(data)
    return file


def _shown(error: CheckerError) -> None:
    assert str(error).strip(), "an error says something"
    assert len(str(error)) < 50_000
    assert _is_text(str(error)), str(error)


def _is_text(text: str) -> bool:
    return terminal(text.replace("\n", "")) == text.replace("\n", "")


def _nothing_else(file: Path) -> None:
    ours = {"history.db", "history.db-wal", "history.db-shm", file.name}
    others = set(os.listdir(folder())) - ours
    for name in others & {"fleet.yaml", "mcp.json", "settings.json", "config.toml", "server.json"}:
        (folder() / name).unlink()
        others.remove(name)
    assert others == set(), "no file is written"
