"""Parts of addresses, headers, arguments and environments that are secrets, by their names and form (pure).

It errs on the safe side: anything that is not plainly harmless counts as a secret. It is used to import other tools'
documents as configurations, and to decide which text from a server must never be shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from checker.late_patterns import late
from checker.secrets.randomness import LONGEST_PLAIN, MARK, is_plain, looks_random

__all__ = [
    "MARK",
    "SecretPart",
    "in_arguments",
    "in_environment",
    "in_header",
    "in_url",
    "is_secret_name",
    "texts_of_program",
]


class SecretPart(Struct, frozen=True):
    """A secret within a text: ``text[start:end]``."""

    start: int
    end: int
    name: str
    """Its name in the surrounding text; never a secret itself."""


Parts = tuple[SecretPart, ...]

_ANYWHERE = late(
    r"token|secret|passw|passphrase|passcode|pwd|auth(?!or(?:s|ed|$|[^a-z]))|bearer|cookie|session|signature|"
    r"credential|webhook|apikey|api[_-]?key|private|connection[ _-]?string|accountkey|"
    r"accesskey|encryption|licen[cs]e|nonce|kerberos",
    re.IGNORECASE,
)
_WHOLE_WORDS_TEXT = """
key keys pass pat pats sig sid dsn hook hooks sess jwt otp totp pin pw cred creds salt pem cert code hmac csrf
xsrf sas saml oidc mfa seed mnemonic psk
"""
_WHOLE_WORDS = frozenset(_WHOLE_WORDS_TEXT.split())
_ENDS = ("key", "pass", "pat", "pwd", "pw", "creds", "jwt", "dsn", "hook")
_COUNTS = late(
    r"(?:max|min|num|count|limit|budget|total).*tokens?|tokens?_?(?:limit|count|budget)|.*tokens", re.IGNORECASE
)
_NO_SECRETS = frozenset(("", "true", "false", "null", "none"))

_PLAIN_NAMES_TEXT = """
level levels env environment mode region regions zone zones lang language locale tz timezone format type
transport protocol host hosts hostname port dir directory path file folder home root cwd theme color colour
debug verbose version model models branch shell term display editor engine driver encoding charset features
toolset toolsets toolsets tools profile channel schema collection unit units log logging output input platform
arch browser device viewport package module script loglevel nodeenv dialect provider
"""
_PLAIN_NAMES = frozenset(_PLAIN_NAMES_TEXT.split())
_PLAIN_HEADERS = late(
    r"accept|accept-(?:charset|encoding|language)|content-(?:type|language|encoding|length)|user-agent|cache-control|"
    r"connection|pragma|host|origin|referer|date|expect|te|via|prefer|priority|upgrade-insecure-requests|"
    r"(?:[a-z0-9]+-)*version|mcp-(?:protocol-version|method|name)|x-(?:requested-with|region|mcp-tools|mcp-toolsets|"
    r"mcp-readonly)",
    re.IGNORECASE,
)
_SCHEMES_TEXT = """
bearer basic token digest apikey api-key key
"""
_SCHEMES = frozenset(_SCHEMES_TEXT.split())

_ADDRESS = late(r"(?:[A-Za-z][A-Za-z0-9+.-]{0,30}:){1,3}//", re.ASCII)
_HOOK_HOST = late(r"(?:web)?hooks?[.-]", re.IGNORECASE)
_HOOK = late(r"(?:web)?hooks?|services|token|tokens|key|keys|secret|secrets|share|invite|s|t|k", re.IGNORECASE)
_PLAIN_SEGMENT = late(r"[a-z][a-z-]{0,14}|v\d{1,2}(?:\.\d{1,2})?", re.ASCII)
_PAIR = late(r"\s*([A-Za-z_][\w .@-]{0,80}?)\s*=(.*)", re.DOTALL | re.ASCII)
_HEADER = late(r"([A-Za-z][\w-]{0,80}):(?!//)\s*(.+)", re.DOTALL | re.ASCII)
_VARIABLE = late(r"[A-Z_][A-Z0-9_]*\Z", re.ASCII)
_OPTION = late(r"--?[A-Za-z][A-Za-z0-9_.:-]*\Z", re.ASCII)
_JSON_TOKEN = late(r'"((?:[^"\\]|\\.)*+)"(\s*:)?|[^\s{}\[\],:"]+', re.DOTALL)
_MOST_NESTED = 50
_BEFORE_MARK = 5
"""Letters and digits; text next to a variable that has fewer is taken for a prefix of it."""
_HEADER_OPTIONS = frozenset(("-H", "--header", "--headers", "--http-header"))
_ENVIRONMENT_OPTIONS = frozenset(("-e", "--env", "--build-arg"))
_LETTER_OPTIONS_TEXT = """
-k -t -p -P -s -S -a -w -u
"""
_LETTER_OPTIONS = frozenset(_LETTER_OPTIONS_TEXT.split())


def is_secret_name(name: str) -> bool:
    """True if a value of this name is a secret, as far as its name shows: ``GITHUB_PAT``, ``apiKey``, ``X-Session``."""
    if _ANYWHERE.search(name):
        return _COUNTS.fullmatch(name.strip("-")) is None
    words = _words(name)
    return not _WHOLE_WORDS.isdisjoint(words) or any(word.endswith(_ENDS) for word in words if len(word) > 4)


def in_environment(name: str, value: str) -> Parts:
    """The value of an environment variable: all of it, if any part of it is a secret."""
    return _whole(value, name) if _in_value(value, name, words=_is_plain_name(name)) else ()


def in_header(name: str, value: str) -> Parts:
    """The value of a request header: all of it, if it is not plainly harmless."""
    harmless = _PLAIN_HEADERS.fullmatch(name.strip()) is not None
    if harmless and not _has_random_word(value):
        return ()
    return _whole(value, name) if _in_value(value, name, words=harmless) else ()


def in_url(url: str) -> Parts:
    """User and password, and the secret parts of path, query and fragment; never the host."""
    opening = _ADDRESS.match(url)
    at = opening.end() if opening else 0
    ends = re.search(r"[/?#;\\]", url[at:])
    host_end = at + ends.start() if ends else len(url)
    found: list[SecretPart] = []
    user_end = url.rfind("@", at, host_end)
    if user_end < 0 and not re.fullmatch(r"[^:]*|.*:\d*|\[.*\]", url[at:host_end].replace(MARK, ""), re.DOTALL):
        user_end = url.rfind("@", at)  # a password with a character that should have been escaped
    if user_end >= 0:
        found += _pieces(url, at, user_end, "password" if ":" in url[at:user_end] else "user")
        ends = re.search(r"[/?#;\\]", url[user_end:])
        at, host_end = user_end + 1, user_end + ends.start() if ends else len(url)
    hooked = _HOOK_HOST.match(url, at) is not None
    for token in re.finditer(r"[^/?#;&\\]+", url[host_end:]):
        start, text = host_end + token.start(), token[0]
        pair = _PAIR.fullmatch(text)
        if pair and not looks_random(pair[1]):
            inner = _in_value(pair[2], pair[1], words=_is_plain_name(pair[1]))
            found += _pieces(url, start + pair.start(2), start + len(text), pair[1]) if inner else []
        elif url[start - 1] in "?&#" or "=" in text:
            found += () if is_plain(text, words=False) else _pieces(url, start, start + len(text), "query")
        elif (hooked and not _PLAIN_SEGMENT.fullmatch(text.replace(MARK, ""))) or not is_plain(
            _unquoted(text), words=True
        ):
            found += _pieces(url, start, start + len(text), "path")
        hooked = hooked or _HOOK.fullmatch(text) is not None
    return tuple(found)


def in_arguments(args: Sequence[str]) -> tuple[Parts, ...]:
    """The secret parts of each argument of a program, which the preceding argument may reveal."""
    found: list[Parts] = []
    before = ""
    for one in args:
        found.append(_in_argument(one, before))
        before = one
    return tuple(found)


def texts_of_program(args: Sequence[str], env: Mapping[str, str]) -> frozenset[str]:
    """Every secret text of a program's arguments and environment, including smaller ones within larger ones.

    So that a password is recognised if a server repeats it without the address it was given in.
    """
    found: set[str] = set()
    for one, parts in zip(args, in_arguments(args), strict=True):
        found.update(text for part in parts for text in _with_inner(one[part.start : part.end], part.name))
    for name, value in env.items():
        if in_environment(name, value):
            found.update(_with_inner(value, name))
    return frozenset(found)


def _is_deep(text: str) -> bool:
    """True if a text may nest ``name=value`` and ``name: value`` pairs deeper than real text does."""
    structured = text.lstrip()[:1] in ("{", "[") or _ADDRESS.match(text)
    return not structured and text.count("=") + text.count(":") > _MOST_NESTED


def _in_argument(text: str, before: str) -> Parts:
    if _is_deep(text):
        return _whole(text, "argument")
    value_of = before if _OPTION.match(before) else ""
    if (
        _OPTION.match(text)
        and not looks_random(text)
        and not (value_of and is_secret_name(value_of) and text[:2] != "--")
    ):
        return ()
    if value_of in _HEADER_OPTIONS and (header := _HEADER.fullmatch(text)):
        return _moved(in_header(header[1], header[2]), header.start(2))
    if text.startswith("-") and (pair := _PAIR.fullmatch(text.lstrip("-"))):
        return _of_pair(pair, len(text) - len(text.lstrip("-")))
    if (pair := _PAIR.fullmatch(text)) and (_VARIABLE.match(pair[1]) or value_of in _ENVIRONMENT_OPTIONS):
        return _of_pair(pair, 0)
    return _in_value(text, value_of.lstrip("-"), words=value_of not in _LETTER_OPTIONS)


def _of_pair(pair: re.Match[str], offset: int) -> Parts:
    """The value of ``NAME=VALUE``, which may be another pair, as in ``--env=NAME=VALUE``."""
    name, value, at = pair[1], pair[2], offset + pair.start(2)
    if looks_random(name):
        return (SecretPart(offset, offset + len(pair[0]), "argument"),)
    if _VARIABLE.match(name):
        return _moved(_in_value(value, name, words=_is_plain_name(name)), at)
    if f"--{name}" in _HEADER_OPTIONS and (header := _HEADER.fullmatch(value)):
        return _moved(in_header(header[1], header[2]), at + header.start(2))
    if inner := _PAIR.fullmatch(value):
        return _of_pair(inner, at)
    return _moved(_in_value(value, name, words=True), at)


def _in_value(text: str, name: str, *, words: bool) -> Parts:
    """The secrets in a value of this name; with ``words``, the value may be a word that is no secret."""
    if is_secret_name(name):
        return () if text.strip().lower() in _NO_SECRETS else tuple(_pieces(text, 0, len(text), name))
    if len(text) > LONGEST_PLAIN:
        return _whole(text, name)
    if is_plain(text, words=words):
        return ()
    if _is_deep(text):
        return _whole(text, name or "argument")
    opening = text.lstrip()[:1]
    if opening in ("{", "["):
        return tuple(_in_json(text))
    if _ADDRESS.match(text) and not re.search(r"\s", text):
        return in_url(text)
    for one in (r"[^;]+", r"\S+", r"[^,]+"):
        if (pairs := _pairs(text, one)) is not None:
            return pairs
    if pair := _PAIR.fullmatch(text):
        return _of_pair(pair, 0)
    if (header := _HEADER.fullmatch(text)) and not looks_random(header[1]):
        return _moved(in_header(header[1], header[2]), header.start(2))
    return tuple(_pieces(text, 0, len(text), name or "argument"))


def _pairs(text: str, one: str) -> Parts | None:
    """The secrets of ``name=value`` pairs, each found by the pattern; None if the text is not such a list."""
    found = [match for match in re.finditer(one, text) if match[0].strip()]
    pairs = [pair for match in found if (pair := _PAIR.fullmatch(match[0]))]
    if len(found) < 2 or len(pairs) < len(found) or re.search("[\"'`]", text):  # what is in quotes may hold a separator
        return None
    if ";" not in text and any(is_secret_name(pair[1]) for pair in pairs[:-1]):
        return None  # a password may hold a comma
    return tuple(
        part for match, pair in zip(found, pairs, strict=True) for part in _moved(_of_pair(pair, 0), match.start())
    )


def _in_json(text: str) -> Iterator[SecretPart]:
    """In text that looks like JSON, the values that are secrets by the last name before them."""
    name = ""
    for token in _JSON_TOKEN.finditer(text):
        if token[2]:
            name = token[1]
            if looks_random(name) or not is_plain(name, words=True):
                yield SecretPart(token.start(1), token.end(1), "name")
                name = "name"
            continue
        start, end = token.span(1) if token[1] is not None else token.span()
        for part in _in_value(text[start:end], name, words=_is_plain_name(name)):
            yield SecretPart(start + part.start, start + part.end, part.name)


def _pieces(text: str, start: int, end: int, name: str) -> list[SecretPart]:
    """The literal parts of ``text[start:end]``; next to variables only those too long to be a mere prefix."""
    if MARK not in text[start:end]:
        return [SecretPart(start, end, name)] if start < end else []
    return [
        SecretPart(start + piece.start(), start + piece.end(), name)
        for piece in re.finditer(f"[^{MARK}]+", text[start:end])
        if sum(map(str.isalnum, piece[0])) >= _BEFORE_MARK and piece[0].strip(" :").lower() not in _SCHEMES
    ]


def _whole(text: str, name: str) -> Parts:
    return tuple(_pieces(text, 0, len(text), name))


def _moved(parts: Iterable[SecretPart], by: int) -> Parts:
    return tuple(SecretPart(one.start + by, one.end + by, one.name) for one in parts)


def _with_inner(text: str, name: str) -> Iterator[str]:
    """The text, and the secrets in it judged without a name: its password, its values, the text after a scheme."""
    yield text
    for part in _in_value(text, "", words=False):
        inner = text[part.start : part.end]
        yield inner
        yield from (one for one in inner.split(":", 1) if part.name == "password")
    scheme, _, rest = text.partition(" ")
    if rest and scheme.lower() in _SCHEMES:
        yield rest.strip()


def _has_random_word(text: str) -> bool:
    """True if a word of the text looks random; for texts of many words, such as the name of a program."""
    return any(looks_random(word) for word in text.split())


def _is_plain_name(name: str) -> bool:
    return not _PLAIN_NAMES.isdisjoint(_words(name)[-1:])


def _words(name: str) -> list[str]:
    """The words of a name in lower case: the same for ``githubApiKey`` as for ``GITHUB_API-KEY``."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return [word.rstrip("0123456789").lower() for word in re.split(r"[^A-Za-z0-9]+", apart) if word]


def _unquoted(segment: str) -> str:
    return re.sub(r"%([2-7][0-9A-Fa-f])", lambda match: chr(int(match[1], 16)), segment)
