"""Values that are plainly no secret: words, numbers, versions, places. Everything else counts as a secret."""

from __future__ import annotations

import re
from functools import lru_cache

from checker.late_patterns import late
from checker.secrets.randomness import looks_random

SHORTEST = 4
"""A shorter value cannot be masked without spoiling the text around it."""

SECRET_NAME = late(
    r"token|secret|passw|pwd|passphrase|api[-_.]?key|(?:^|[-_.])(?:key|auth|pass|pat|sig|jwt|pin)s?(?:$|[-_.])"
    r"|(?:access|private|signing|encryption|account|master)[-_.]?key|apikey|authori[sz]ation|authentication"
    r"|cookie|credential|bearer|signature|session[-_.]?id|webhook|[a-z]Key$|dsn|connection[-_.]?string",
    re.IGNORECASE,
)
"""Names whose values are secret whatever their form."""

_PUBLIC_HEADERS = {"accept", "accept-encoding", "accept-language", "cache-control", "connection", "content-type"}
_WORD = r"(?:[a-z]{1,14}|[A-Z]{1,14}|[A-Z][a-z]{1,13})"
_PIECE = rf"(?:{_WORD}|[A-Za-z]{{1,5}}\d{{1,2}}|\d{{1,5}}|\d{{1,3}}[a-z]{{1,3}})"
_PIECES = late(rf"[-@.~]{{0,2}}{_PIECE}(?:[-_.:/@, +~^<>*!?;'()\x22]{{1,3}}{_PIECE}){{0,11}}[.:/*+!?'\x22)]{{0,2}}")
_NUMBER = late(r"[-+]?\d{1,6}(?:\.\d{1,6})?(?:ms|s|m|h|d|%|[KMG]i?B|B)?")
_CAMEL = late(r"[a-z]{2,14}(?:[A-Z][a-z]{1,13}){1,3}|(?:[A-Z][a-z]{2,13}){2,4}")
_PATH = late(r"(?:~|\.{1,2}|[A-Za-z]:)?[/\\][^\s:;?=&'\"<>|]*")
_RANDOM = late(
    r"(?=[^/\\]*[a-z])(?=[^/\\]*[A-Z])(?=[^/\\]*\d)[^/\\.]{12,}|[0-9a-fA-F]{24,}|[^/\\]{48,}"
    r"|(?i:[b-df-hj-np-tv-xz]{6,})"
)
_URL = late(r"[a-z][a-z0-9+.-]*://(\[[0-9a-fA-F:.]+\]|[\w.-]+)(?::\d{1,5})?(/[^?#]*)?", re.IGNORECASE)
_FLAG = late(r"--?[A-Za-z][A-Za-z0-9]*(?:[-_.][A-Za-z0-9]{1,16})*")
_LONGEST = 200
_LONGEST_PROSE = 4096
_FEWEST_WORDS = 4
_PUNCTUATION = late(r"[<>()\[\]{}\"'`,;!?*^~|…]+")


def is_public_header(name: str) -> bool:
    """True if the value of this request header reveals nothing about the sender."""
    return name.lower() in _PUBLIC_HEADERS


@lru_cache(maxsize=8192)
def is_plain(value: str, name: str = "") -> bool:
    """True if a value is plainly no secret, judged by its name and its form.

    Plain are numbers, versions, words in one case and combinations of them (``eu-west-1``, ``text/html``), and paths
    and addresses without random parts, user info and query. Everything else is taken for a secret.
    """
    if len(value) < SHORTEST:
        return True
    if (name and SECRET_NAME.search(name)) or len(value) > _LONGEST:
        return False
    if "://" not in value and not ("@" in value and ":" in value) and _is_worded(value):
        return not _RANDOM.search(value)
    if (address := _URL.fullmatch(value)) is not None:
        return is_plain_path(address[2] or "/") and not _RANDOM.search(address[1])
    return bool(_PATH.fullmatch(value)) and is_plain_path(value)


def _is_worded(value: str) -> bool:
    """True if a value is a number or made of words."""
    return any(looks.fullmatch(value) for looks in (_NUMBER, _PIECES, _CAMEL))


@lru_cache(maxsize=1024)
def is_prose(text: str) -> bool:
    """True if a text without a name is written for people: some words, each plain by itself, and no assignments.

    For text that is longer, or has more punctuation, than a value that `is_plain`: a script, a message, a usage.
    """
    if len(text) > _LONGEST_PROSE or re.search(r"[=@]|://", text):
        return False
    words = text.split()
    if len(words) < _FEWEST_WORDS or any(SECRET_NAME.search(one) for one in words if one[0] == "-" or one[-1] == ":"):
        return False
    bare = (piece for one in words for piece in _PUNCTUATION.split(one) if piece)
    return all(is_plain(one.strip("-_.:/")) and not looks_random(one) for one in bare)


def is_plain_path(path: str) -> bool:
    """True if no part of a path looks random."""
    return not _RANDOM.search(path)


def is_flag(argument: str) -> bool:
    """True if an argument is the name of an option."""
    return bool(_FLAG.fullmatch(argument)) and not _RANDOM.search(argument)
