"""Takes literal secrets out of entries that are about to be written, and leaves variables in their places."""

from __future__ import annotations

import re
from collections.abc import Sequence

from checker.importers.imported import Entry, name_of, one_line
from checker.importers.variables import REFERENCE, needed, reference, references, variable_name

_WORDS = "token|secret|key|passw|pwd|authorization|cookie|credential"
_SECRET_NAME = re.compile(_WORDS, re.IGNORECASE)
_SECRET_VALUE = re.compile(
    r"(?:sk-|sk_|gh[opsu]_|github_pat_|glpat-|xox[a-z]-|AKIA|AIza|eyJ)[\w.-]{8,}|://[^/\s@?#]+@", re.ASCII
)
_ASSIGNED = re.compile(rf"([\w-]{{0,60}}(?:{_WORDS})[\w-]{{0,60}})(=|:\s+)(.+)\Z", re.DOTALL | re.IGNORECASE)
_HEADER = re.compile(rf"([\w-]{{0,60}}(?:{_WORDS}))(:)(.+)\Z", re.DOTALL | re.IGNORECASE)
_SCHEME = re.compile(r"\b(?:bearer|basic|token|api-?key)\b", re.IGNORECASE)
_QUERY_VALUE = re.compile(r"([?&])([^=&#]+)=([^&#]*)")
_DEFAULT = re.compile(r"\$(\$|\{([A-Za-z_][A-Za-z0-9_]*):-[^}]+\})")
_SHORTEST = 8  # what stands next to a variable and is shorter is taken for a prefix
_LONGEST_ARGUMENT = 4096  # a longer one is not looked through for what in it is the secret
_NO_SECRETS = {"", "true", "false"}


def withheld(entries: Sequence[Entry], taken: set[str]) -> tuple[list[Entry], list[str]]:
    """The entries with a variable for each literal secret, and a note for each that says which one to set.

    No new variable is called like one that is ``taken``, or that an entry already has.
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
    """One entry on its way; the variables it takes are added to those that are taken."""

    def __init__(self, name: str, taken: set[str], numbers: dict[str, int]) -> None:
        self._name, self._taken, self._numbers = name, taken, numbers
        self.notes: list[str] = []

    def options(self, given: Entry) -> Entry:
        found = dict(given)
        for key in ("headers", "env"):
            if key in given:
                found[key] = {name: self._named(name, value) for name, value in given[key].items()}
        if "bearer" in given:
            found["bearer"] = self._named("token", given["bearer"])
        if "url" in given:
            found["url"] = self._url(given["url"])
        if "args" in given:
            found["args"] = self._args(given["args"])
        return found

    def _named(self, name: str, value: str) -> str:
        """The value, or a variable for it where its name or its looks say that it is a secret."""
        if not _SECRET_NAME.search(name) and not _SECRET_VALUE.search(value):
            return value
        value = _DEFAULT.sub(self._without_default, value)
        if value.lower() in _NO_SECRETS or (references(value) and ("://" in value or not _has_literal(value))):
            return value
        return self._variable(name)

    def _without_default(self, match: re.Match[str]) -> str:
        """``${NAME}`` for ``${NAME:-default}``: the default of a secret is one too."""
        if match[1] == "$":
            return match[0]
        self._note(match[2], "its default is a secret and is not written")
        return reference(match[2])

    def _variable(self, name: str) -> str:
        wanted = found = variable_name(self._name.rpartition("/")[2], name)
        number = self._numbers.get(wanted, 1)
        while found in self._taken:
            number += 1
            found = f"{wanted}_{number}"
        self._numbers[wanted] = number
        self._taken.add(found)
        self._note(found, f"to the value of {name}, which is not written")
        return reference(found)

    def _note(self, variable: str, text: str) -> None:
        self.notes.append(one_line(f"{self._name}: set {variable} {text}"))

    def _url(self, url: str) -> str:
        if _SECRET_VALUE.search(url):
            return self._named("url", url)
        return _QUERY_VALUE.sub(lambda match: f"{match[1]}{match[2]}={self._named(match[2], match[3])}", url)

    def _args(self, args: Sequence[str]) -> list[str]:
        found: list[str] = []
        before = ""
        for one in args:
            if len(one) > _LONGEST_ARGUMENT and (_SECRET_NAME.search(one) or _SECRET_VALUE.search(one)):
                found.append(self._variable("argument"))
                continue
            assigned = _ASSIGNED.search(one) or _HEADER.match(one)
            if before.startswith("-") and "=" not in before and _SECRET_NAME.search(before) and one[:1] != "-":
                found.append(self._named(before.lstrip("-"), one))
            elif assigned:
                value = self._named(assigned[1].lstrip("-"), assigned[3])
                found.append(f"{one[: assigned.start()]}{assigned[1]}{assigned[2]}{value}")
            else:
                found.append(self._named("argument", one))
            before = one
        return found


def _has_literal(value: str) -> bool:
    """Whether there is more in a value than variables and the name of an authentication scheme."""
    left = _SCHEME.sub("", REFERENCE.sub("", value))
    return sum(one.isalnum() for one in left) >= _SHORTEST
