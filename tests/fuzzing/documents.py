"""Targets that read what users and other programs wrote: configurations, imported documents, SQL; and contracts."""

from __future__ import annotations

import json
import os
import tempfile
from functools import cache
from pathlib import Path

from checker.contract.canonical_form import canonical
from checker.contract.changes import diff
from checker.errors import CheckerError, ConfigError
from checker.importers.entries import Origin, ServerNames
from checker.importers.formats import converted
from checker.importers.values import parsed
from checker.settings.load import load
from storage.sql import ask


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="mcp-status-fuzz-"))


@cache
def _history() -> Path:
    from histories import told_history

    file = _folder() / "history.db"
    told_history(file)
    return file


def configuration(data: bytes) -> None:
    """A configuration loads or is refused with a message; it is read with an empty environment."""
    file = _folder() / "fleet.yaml"
    file.write_bytes(data)
    try:
        settings = load(file, None, {})
    except ConfigError as error:
        assert str(error)
        assert "\x1b" not in str(error)
    else:
        assert settings.servers


def imported(data: bytes) -> None:
    """A document of another program gives servers, or is refused with a message."""
    text = data.decode("utf-8", "replace")
    for toml in (False, True):
        try:
            found = converted(parsed(text, "document", toml), Origin("document", None), None, ServerNames(""))
        except ConfigError as error:
            assert str(error)
            assert "\x1b" not in str(error)
        else:
            json.dumps(list(map(dict, found.entries)))


def question(data: bytes) -> None:
    """A statement reads or is refused; the history is as it was."""
    file = _history()
    before, names = file.read_bytes(), set(os.listdir(_folder()))
    try:
        with ask(file, data.decode("utf-8", "replace"), 0.5) as answer:
            for _, _ in zip(answer.rows, range(1000), strict=False):
                pass
    except CheckerError as error:
        assert str(error)
    assert file.read_bytes() == before
    assert {name for name in set(os.listdir(_folder())) - names if "history.db-" not in name} == set()


def contract(data: bytes) -> None:
    """Two contracts on two lines: canonical forms do not depend on order, and a contract differs from others alone."""
    documents = []
    for line in data.split(b"\n", 1):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            return
        if not isinstance(value, dict):
            return
        documents.append(value)
    try:
        texts = [canonical(document).text for document in documents]
        assert all(canonical(json.loads(text)).text == text for text in texts)
        assert list(diff(documents[0], documents[0])) == []
        for change in diff(documents[0], documents[-1]):
            assert change.detail.isprintable()
            assert len(change.detail) < 500
    except ValueError as error:
        assert "nested" in str(error) or "too" in str(error), error
