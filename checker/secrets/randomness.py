"""What a text looks like: something that anybody may read, or something made up at random (pure).

Made for texts that nobody labelled: a text passes for plain only where its shape says so, and what is in doubt is not.
"""

from __future__ import annotations

import re
from itertools import pairwise

MARK = "\ud800"
"""Stands in a text for a variable that is not filled in. No text that was decoded has it."""

LONGEST_PLAIN = 4096
"""Characters; nobody reads a longer text, and looking for secrets in it is not worth the time."""

_SAME_EVERYWHERE_TEXT = """
true false yes no on off none null nil undefined auto default all any always never enabled disabled enable
disable debug info information notice warn warning error critical fatal trace silent verbose quiet production
development staging testing prod dev stage test local localhost live sandbox beta latest stable stdio sse http
https ws wss tcp udp unix streamable-http streamablehttp ipv4 ipv6 json yaml yml toml xml csv text txt html
markdown plain pretty utf-8 utf8 ascii utc gmt read write readonly read-only readwrite read-write admin user
root postgres mysql sqlite redis mongodb c c.utf-8 posix en_us.utf-8 en-us en_us safe strict basic full minimal
simple normal low medium high
"""
_SAME_EVERYWHERE = frozenset(_SAME_EVERYWHERE_TEXT.split())
_NUMBER = re.compile(r"[+-]?\d{1,6}(?:\.\d{1,6})?(?:%|[smhdwkKMGTB]|[mun]s|min|[KkMGT]i?[Bb]|px|rpm|rps)?", re.ASCII)
_VERSION = re.compile(
    r"[v^~=<>]{0,2}\d{1,4}(?:\.\d{1,6}|\.[x*]){1,3}(?:[-+.]?(?:alpha|beta|rc|dev|post|[ab])[.\d]{0,6})?"
)
_DATE = re.compile(
    r"(?:19|20)\d{2}-?[01]\d-?[0-3]\d(?:[T ]\d{2}:?\d{2}(?::?\d{2}(?:\.\d{1,6})?)?(?:Z|[+-]\d{2}:?\d{2})?)?", re.ASCII
)
_HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}\.)+[A-Za-z]{2,12}|localhost|(?:\d{1,3}\.){3}\d{1,3}|\[[0-9A-Fa-f:.]{2,45}\]|"
    r"[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7})(?::\d{1,5})?(?:/\d{1,3})?",
    re.ASCII,
)
_FILE = re.compile(r"(?:~[\w.-]*|\.{0,2}|[A-Za-z]:)[/\\][^\x00-\x1f\"'`<>|*?;&=$]*|\.{1,2}", re.ASCII)
_ROOT = re.compile(r"[a-z][a-z0-9_.-]{0,31}|Users|Library|Applications|Volumes|System|Program Files|Windows", re.ASCII)
_WORDS = re.compile(r"[@.#:*+]?[A-Za-z0-9_]+(?:[-_./@:+,~ ]{1,2}[A-Za-z0-9_*]+)*[.!/]?", re.ASCII)
_SENTENCE = re.compile(r"[\w@./:,;!?()'\" -]*", re.ASCII)
_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}\Z")
_TELLING = re.compile(
    r"(?<![A-Za-z0-9])(?:sk-|sk_|pk_|rk_|gh[a-z]_|github_pat_|gl[a-z]{2,6}-|xox[a-z]-|xapp-|AKIA|ASIA|AIza|eyJ|ya29\.|npm_|"
    r"pypi-|hf_|SG\.|dop_v1_|shp[a-z]{2}_|figd_|lin_api_|ntn_|secret_(?=[A-Za-z0-9]{30})|whsec_|glsa_|phc_|tvly-|sntrys_|ATATT|"
    r"dckr_|nvapi-|r8_|gsk_|xai-|pplx-|pat[A-Za-z0-9]{14}\.)[\w.-]{6}|-----BEGIN ",
    re.ASCII,
)
_LETTERS, _CHUNK = re.compile(r"[a-z]+"), re.compile(r"[A-Za-z0-9]+")
_LONGEST_NUMBER = 6  # digits in a row that are no date
_FEWEST_JUDGED = 8  # letters and digits; whether fewer are random cannot be told
_RARE = 2.85
_MOST_SWITCHES = 3
_MANY_CHANGES = 0.6  # of capital and small letters, over all parts of a text: a separator may stand anywhere in a token
_SHORTEST_RANDOM_NAME = 16  # of a file; the random names of temporary ones are shorter
# How rare it is for the letter of a row to be followed by that of a column, as -ln of its share, cut to 0..9; counted
# over the names of packages of npm, PyPI, Debian and the text of Python's library.
_FOLLOWED_BY_TEXT = """
53236436364222627221345545 14441555236155247234266627 26442562372256137342367748 24431445133345246334355647
34224346565231534122544246 25552256176255157243266637 35451533266333246224366556 15551566166435155342366637
33233337675231236322537474 15441565355546244515254666 24430435265343346423354646 25431247175256247523256637
13341556275324226535366647 25222315364454347521346656 43325436453221337133243466 16441553274256237232366627
34445555466145445333054666 25331546274433247322346737 35341553274345324521354647 25351462166445247233365637
33332437376222428122667476 15450556176545357544366657 25542552175453157224566667 35241555266435426441455537
34343425355232315321452564 25440554254434245344255533
"""
_FOLLOWED_BY = _FOLLOWED_BY_TEXT.split()


def is_telling(text: str) -> bool:
    """Whether something in the text begins as the tokens of a well-known service do."""
    return _TELLING.search(text) is not None


def looks_random(text: str) -> bool:
    """Whether something in the text was probably made by a machine: keys, tokens, digests, long numbers."""
    if is_telling(text):
        return True
    text = _DIGEST.sub("", text)
    if _VERSION.fullmatch(text) or _DATE.fullmatch(text):
        return False
    chunks = _CHUNK.findall(text)
    if any(len(run) > _LONGEST_NUMBER and not _DATE.fullmatch(run) for run in re.findall(r"\d+", text)):
        return True
    switches = [_switches(chunk) for chunk in chunks]
    numbered = sum(map(bool, switches))
    if sum(switches) >= _MOST_SWITCHES and (max(switches) >= _MOST_SWITCHES or 2 * numbered > len(chunks)):
        return True
    if any(_is_hexadecimal(chunk) or _is_mixed(chunk) for chunk in chunks):
        return True
    if _changes("".join(chunks), _MANY_CHANGES):
        return True
    return sum(map(len, chunks)) >= _FEWEST_JUDGED and (_is_unpronounceable(chunks) or any(map(_changes, chunks)))


def is_plain(text: str, *, words: bool) -> bool:
    """Whether the text is plainly no secret: a switch, a number, a path, a host, a word that is the same everywhere.

    With ``words``, also whatever reads like names and words. Addresses are not plain here; they have parts.
    """
    if MARK in text:
        return all(is_plain(piece, words=words) for piece in text.split(MARK))
    if len(text) > LONGEST_PLAIN:
        return False
    bare = text.strip()
    if len(bare) < 4 or bare.lower() in _SAME_EVERYWHERE:
        return True
    if any(shape.fullmatch(bare) for shape in (_NUMBER, _VERSION, _DATE)):
        return True
    if _is_path(bare):
        return True
    if looks_random(bare):
        return False
    if _HOST.fullmatch(bare):
        return True
    if words and (_WORDS.fullmatch(bare) or (" " in bare and _SENTENCE.fullmatch(bare))):
        return True
    apart = re.split(r"[,;\s]+", bare)
    return len(apart) > 1 and all(is_plain(one, words=False) for one in apart)


def _is_path(text: str) -> bool:
    """Whether it is the path of a file: its segments are names, of which temporary ones look random when short."""
    if not _FILE.fullmatch(text) or is_telling(text):
        return False
    segments = [one for one in re.split(r"[/\\]", text) if one]
    if segments and text[0] in "/\\" and not _ROOT.fullmatch(segments[0]):
        return False
    return not any(len(one) >= _SHORTEST_RANDOM_NAME and looks_random(one) for one in segments)


def _switches(chunk: str) -> int:
    """How often letters and digits take turns."""
    return sum(one.isdigit() != other.isdigit() for one, other in pairwise(chunk))


def _is_hexadecimal(chunk: str) -> bool:
    return len(chunk) >= 8 and bool(re.fullmatch(r"[0-9a-f]+|[0-9A-F]+", chunk)) and _switches(chunk) > 0


def _is_mixed(chunk: str) -> bool:
    """Whether digits stand among letters of both sizes as in no name."""
    return len(chunk) >= 6 and _switches(chunk) > 1 and not chunk.islower() and not chunk.isupper()


def _changes(chunk: str, share: float = 0.45) -> bool:
    """Whether letters change between capital and small more often than in names of several words."""
    letters = [one for one in chunk if one.isalpha()]
    changes = sum(one.isupper() != other.isupper() for one, other in pairwise(letters))
    return len(letters) >= _FEWEST_JUDGED and changes > share * len(letters)


def _is_unpronounceable(chunks: list[str]) -> bool:
    """Whether the letters of all of it follow one another as they rarely do in words; abbreviations do not count."""
    pairs = [
        int(_FOLLOWED_BY[ord(one) - 97][ord(other) - 97])
        for chunk in chunks
        for run in _LETTERS.findall(chunk.lower())
        if len(run) > 3
        for one, other in pairwise(run)
    ]
    return len(pairs) >= _FEWEST_JUDGED - 2 and sum(pairs) > _RARE * len(pairs)
