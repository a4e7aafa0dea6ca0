"""Writing of imported servers to a configuration file, with literal secrets replaced by variables.

`checker.secrets.sensitive_names` locates them. detect-secrets then checks the text that this found harmless, and knows
the tokens of many services. Nothing is verified with those services: texts are only examined, nothing is sent.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from difflib import get_close_matches
from functools import cache, partial
from pathlib import Path
from shutil import copymode
from tempfile import NamedTemporaryFile
from typing import Any

from checker.errors import ConfigError, UsageError
from checker.importers.entries import (
    REFERENCE,
    Entry,
    Imported,
    escaped,
    name_of,
    needed,
    one_line,
    reference,
    variable_name,
)
from checker.secrets.randomness import MARK
from checker.secrets.sensitive_names import SecretPart, in_arguments, in_environment, in_header, in_url
from checker.settings.imported import appended, names_in
from checker.settings.yaml_document import read

Judge = Callable[[list[str]], Sequence[Sequence[SecretPart]]]
"""Texts in which each variable is a MARK -> the secrets in each of them."""

_WORD = re.compile(r"[^\s:/@=?&;,\"'{}\[\]()]{8,}")
_LONGEST_SEARCHED = 4096


def withheld(entries: Sequence[Entry], taken: set[str]) -> tuple[list[Entry], list[str]]:
    """The entries with a variable for each literal secret, and a note for each that names the variable to set.

    No new variable has a name that is ``taken``, or that an entry already uses. With the new variables set to the
    secrets they replace, the entries are equivalent to the originals.
    """
    taken = taken | set(needed(list(entries)))
    numbers: dict[str, int] = {}  # variable -> the number it was last given, where several servers want it
    written: list[Entry] = []
    notes: list[str] = []
    for entry in entries:
        one = _Withheld(name_of(entry), taken, numbers)
        written.append({**entry, "mcp": one.options(entry["mcp"])})
        notes += one.notes
    return written, notes


class _Withheld:
    """One entry in progress; the variables it introduces are added to the taken names."""

    def __init__(self, name: str, taken: set[str], numbers: dict[str, int]) -> None:
        self._name, self._taken, self._numbers = name, taken, numbers
        self._variables: dict[str, str] = {}  # secret -> its variable
        self.notes: list[str] = []

    def options(self, given: Entry) -> Entry:
        found = dict(given)
        for key, judge in (("headers", in_header), ("env", in_environment)):
            if key in given:
                found[key] = {name: self._one(value, partial(judge, name), name) for name, value in given[key].items()}
        if "bearer" in given:
            found["bearer"] = self._one(given["bearer"], lambda text: in_header("token", text), "token")
        if "url" in given:
            found["url"] = self._one(given["url"], in_url, "url")
        for key in ("command", "cwd"):
            if key in given:
                found[key] = self._one(given[key], lambda text: in_arguments([text])[0], key)
        if "args" in given:
            found["args"] = self._texts(given["args"], in_arguments, "argument")
        return found

    def _one(self, text: str, judge: Callable[[str], Sequence[SecretPart]], name: str) -> str:
        return self._texts([text], lambda texts: [judge(texts[0])], name)[0]

    def _texts(self, texts: Sequence[str], judge: Judge, name: str) -> list[str]:
        kept = self._without_defaults(texts, judge)
        marked = [_marked(text) for text in kept]
        found = judge([text for text, _ in marked])
        return [
            self._filled(text, references, [*parts] or _detected(text, name))
            for (text, references), parts in zip(marked, found, strict=True)
        ]

    def _without_defaults(self, texts: Sequence[str], judge: Judge) -> list[str]:
        """The texts with ``${NAME}`` for each ``${NAME:-default}`` whose default is a secret in its context."""
        shown, places = [], []
        for text in texts:
            inlined, at, defaults = "", 0, []
            for match in REFERENCE.finditer(text):
                inlined += text[at : match.start()]
                at = match.end()
                default = (match[2] or "").removeprefix(":-")
                if match[1] and default:
                    defaults.append((len(inlined), len(inlined) + len(default), match))
                inlined += default or (MARK if match[1] else "$")
            shown.append(inlined + text[at:])
            places.append(defaults)
        found = judge(shown) if any(places) else [()] * len(shown)
        kept = []
        for text, inlined, defaults, parts in zip(texts, shown, places, found, strict=True):
            for start, end, match in reversed(defaults):
                if any(one.start < end and start < one.end for one in parts) or _detected(inlined[start:end], ""):
                    text = text[: match.start()] + reference(match[1]) + text[match.end() :]
                    self._note(match[1], "its default is a secret and is not written")
            kept.append(text)
        return kept

    def _filled(self, text: str, references: list[str], parts: Sequence[SecretPart]) -> str:
        found, at = "", 0
        waiting = iter(references)

        def literal(piece: str) -> str:
            return "".join(next(waiting) if one == MARK else one for one in re.split(f"({MARK})", escaped(piece)))

        for part in parts:
            found += literal(text[at : part.start]) + self._variable(text[part.start : part.end], part.name)
            at = part.end
        return found + literal(text[at:])

    def _variable(self, secret: str, name: str) -> str:
        if secret in self._variables:
            return reference(self._variables[secret])
        wanted = found = variable_name(self._name.rpartition("/")[2], name)
        number = self._numbers.get(wanted, 1)
        while found in self._taken:
            number += 1
            found = f"{wanted}_{number}"
        self._numbers[wanted] = number
        self._taken.add(found)
        self._variables[secret] = found
        self._note(found, f"to the value of {name}, which is not written")
        return reference(found)

    def _note(self, variable: str, text: str) -> None:
        self.notes.append(one_line(f"{self._name}: set {variable} {text}"))


def _marked(text: str) -> tuple[str, list[str]]:
    """The text with a MARK for each variable; and the variables in their original form."""
    references = [match[0] for match in REFERENCE.finditer(text) if match[1]]
    return REFERENCE.sub(lambda match: MARK if match[1] else "$", text), references


def _detected(text: str, name: str) -> list[SecretPart]:
    """The secret that detect-secrets finds: always the whole text, since it detects a secret but not where it ends."""
    pieces = [piece for piece in text.split(MARK) if piece]
    if not any(_is_detected(piece[:_LONGEST_SEARCHED]) for piece in pieces):
        return []
    return [SecretPart(one.start(), one.end(), name) for one in re.finditer(f"[^{MARK}]+", text)]


def _is_detected(text: str) -> bool:
    shapes, entropies = _detectors()
    if any(next(iter(shape.analyze_string(text)), None) is not None for shape in shapes):
        return True
    return any(
        set(word) <= set(entropy.charset) and entropy.calculate_shannon_entropy(word) > entropy.entropy_limit
        for word in _WORD.findall(text)
        for entropy in entropies
    )


@cache
def _detectors() -> tuple[list[Any], list[Any]]:
    """The detectors of detect-secrets that know formats, and those that measure entropy.

    Left out are that of names, which reads source code and whose names `sensitive_names` knows, and that of public IP
    addresses, which are no secrets here.
    """
    # takes as long to import as requests does, which it imports to verify what it finds; nobody asks it to
    from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class

    kinds: list[Any] = list(get_mapping_from_secret_type_to_class().values())
    made = [kind() for kind in kinds if kind.__name__ not in ("KeywordDetector", "IPPublicDetector")]
    return (
        [one for one in made if not hasattr(one, "entropy_limit")],
        [one for one in made if hasattr(one, "entropy_limit")],
    )


_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)")


def merged_config(existing_text: str | None, imported: Imported) -> tuple[str, list[str]]:
    """The YAML of a configuration with these servers, and notes on what was left out and on the variables to set.

    An existing text is kept unchanged, and the servers are added at the end of its list; those whose names exist are
    left out. No secret is written. Raises ConfigError for a text whose list cannot be extended.
    """
    there = names_in(existing_text) if existing_text is not None else set()
    new = [entry for entry in imported.entries if entry["name"] not in there]
    notes = [
        one_line(f"{name_of(entry)}: left out: the config has a server of this name")
        for entry in imported.entries
        if entry["name"] in there
    ]
    if not imported.entries:
        raise ConfigError("nothing to write: no server was imported")
    taken = set(_VARIABLE.findall(existing_text or ""))
    written, said = withheld(new, taken)
    notes += said
    secrets = set(needed(written)) - set(needed(new))
    notes += [
        one_line(f"{name_of(entry)}: needs the variable {name}")
        for entry in written
        for name in needed(entry)
        if name not in secrets
    ]
    return appended(existing_text, written), notes


def chosen(imported: Imported, only: Sequence[str]) -> Imported:
    """The servers with these names; all if none is given. Raises UsageError for a name that no server has."""
    by_name = {name_of(entry): entry for entry in imported.entries}
    for name in only:
        if name not in by_name:
            there = get_close_matches(name, by_name, n=3) or list(by_name)[:10]
            raise UsageError(one_line(f'no server "{name}" was imported; there are: {", ".join(there) or "none"}'))
    return Imported(tuple(entry for name, entry in by_name.items() if not only or name in only), imported.notes)


def existing_text(path: Path) -> str:
    """The text of a configuration with its original line endings; raises ConfigError if it is not valid YAML."""
    read(path)  # for its messages: with the line, and of keys that stand twice
    return path.read_bytes().decode("utf-8")


def write(path: Path, text: str, replace: bool) -> None:
    """Write the file whole or not at all; raises ConfigError if that fails, or if a file must not be replaced."""
    target = path.resolve()  # the file, not a link to it
    try:
        if not replace:
            with target.open("x", encoding="utf-8", newline="") as file:
                file.write(text)
            return
        with NamedTemporaryFile("w", encoding="utf-8", newline="", dir=target.parent, delete=False) as new:
            try:
                new.write(text)
                new.flush()
                copymode(target, new.name) if target.exists() else os.chmod(new.name, 0o644)
                os.replace(new.name, target)
            except BaseException:
                with suppress(OSError):
                    os.unlink(new.name)
                raise
    except OSError as error:
        raise ConfigError(f"{path}: not written: {error.strerror}; name a file in a folder that is writable") from None
