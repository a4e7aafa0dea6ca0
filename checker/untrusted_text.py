r"""Text from outside, made safe for each sink: shown as text, and never interpreted as anything else.

Names of servers, their descriptions of themselves, file names, other tools' documents: all of them may contain terminal
controls, characters that change the direction of writing, invisible characters, markup, formulas. There is one function
for each sink; a character that cannot be shown is written as an escape of Python or JSON (``\x1b``, ``\u202e``), so
that a reader sees that it is there. Text in any language, and emoji, stay unchanged.

The sinks apply these functions themselves, so that no caller has to remember them: `checker.standard_streams` for
printed text, `reports.text_tables` for tables, `reports.terminal` for live output, `reports.rows_as_text` for JSON and
CSV, `reports.templating` for HTML and XML.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from checker.late_patterns import late

_INVISIBLE = (
    "\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164"
    "\ud800-\udfff\ufdd0-\ufdef\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e00ff\U000e01f0-\U000e0fff"
)
"""C1 and DEL; soft hyphen and other letters of no width; bidi marks, embeddings, overrides and isolates (UAX #9); line
and paragraph separator; fillers; lone surrogates; noncharacters; interlinear, hieroglyphic and musical controls;
tags."""
_SELECTORS = "\ufe00-\ufe0f\U000e0100-\U000e01ef"
_MANY_SELECTORS = f"(?<=[{_SELECTORS}])[{_SELECTORS}]"
"""One variation selector after a letter chooses its shape; more of them carry hidden data."""
_JOINED = late(
    "(?<=[\u2000-\u2bff\ufe0f\U0001f000-\U0001faff])\u200d(?=[\u2000-\u2bff\U0001f000-\U0001faff])"
    "|(?<=[\u0600-\u0dff])[\u200c\u200d](?=[\u0600-\u0dff])"
)
"""Places where joiners belong: between emoji, and between letters of Arabic and Indic scripts."""
_LINE = late(f"[\x00-\x1f{_INVISIBLE}]|{_MANY_SELECTORS}")
_LINES = late(f"[\x00-\x08\x0b\x0c\x0e-\x1f{_INVISIBLE}]|\r(?!\n)|{_MANY_SELECTORS}")
_JSON = late(f"[{_INVISIBLE}]|{_MANY_SELECTORS}")
_NUMBER = late(r"[-+]?\d+(\.\d+)?([eE][-+]?\d+)?")
_FORMULA = late(r"[\t\r\n]|\s*[=+\-@|%\uff1d\uff0b\uff0d\uff20]")
"""Characters that begin a formula, number or command in spreadsheets (OWASP, CSV Injection); also in full width."""
_MARKDOWN = late(r"[\\`*_\[\]|<>~&$]|:(?=//)|(?<=\bwww)\.|(?<=mailto):|(?<=xmpp):", re.IGNORECASE)
_MENTION = late(r"([@#])(?=\w)")
_SURROGATE = late("[\ud800-\udfff]")
_BLOCK = late(r"#{1,6}(?=\s|$)|[-+](?=\s|$)|-(?=-)|=|\d{1,9}(?=[.)](\s|$))")
"""Text that begins a heading, a list, or a rule on a line of Markdown."""


def terminal(text: str) -> str:
    """The text on one line for a terminal, a log or a cell: no control, invisible or direction-changing characters."""
    if text.isascii() and text.isprintable():
        return text
    return _LINE.sub(_escape_in(text), text)


def lines(text: str) -> str:
    """Like `terminal`, for text of several lines: line ends and tabs stay."""
    if text.isascii() and text.replace("\n", "").isprintable():  # a large table is one text
        return text
    return _LINES.sub(_escape_in(text), text) if _LINES.search(text) else text


def markup(text: str) -> str:
    """The text as HTML and XML 1.0 may contain it, before escaping, which is left to Jinja and ElementTree."""
    return lines(text)


def json_text(document: str) -> str:
    """An equivalent JSON document that is safe to print: characters that should not be shown raw are escaped."""
    if document.isascii() and "\x7f" not in document:
        return document
    joined = {found.start() for found in _JOINED.finditer(document)}
    return _JSON.sub(lambda found: found[0] if found.start() in joined else _utf_16(found[0]), document)


def csv_cell(text: str) -> str:
    """The text for a spreadsheet cell: a formula gets a leading apostrophe, a number does not."""
    shown = lines(text)
    return f"'{shown}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else shown


def markdown(text: str) -> str:
    """The text on one line of Markdown (CommonMark and GitHub's): no markup, HTML, links or mentions."""
    flat = _MARKDOWN.sub(r"\\\g<0>", terminal(" ".join(text.split())))
    flat = _MENTION.sub(r"\1<!-- -->", flat)
    begins = _BLOCK.match(flat)
    if begins is None:
        return flat
    number = begins[0].isdigit()
    return f"{begins[0]}\\{flat[begins.end() :]}" if number else f"\\{flat}"


def markdown_code(text: str) -> str:
    """The text as a code span, whatever backticks it contains (CommonMark 0.31, section 6.1); empty for empty text."""
    flat = terminal(" ".join(text.split()))
    if not flat:
        return ""
    fence = "`" * (1 + max((len(found) for found in re.findall("`+", flat)), default=0))
    room = " " if flat.startswith("`") or flat.endswith("`") else ""
    return f"{fence}{room}{flat}{room}{fence}"


def label_value(text: str) -> str:
    """The value of a label in Prometheus' text format, without its quotes."""
    return terminal(text).replace("\\", "\\\\").replace('"', '\\"')


def storable(text: str, most: int) -> str:
    """The text for the history: at most so many characters, without NUL and lone surrogates."""
    cut = text if len(text) <= most else f"{text[: most - 1]}…"
    if "\x00" in cut:
        cut = cut.replace("\x00", "\N{REPLACEMENT CHARACTER}")
    return cut if cut.isascii() else _whole(cut)


def shortened(text: str, most: int) -> str:
    """Like `terminal`, and at most so many characters long."""
    shown = terminal(text[: most + 1])
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def _whole(text: str) -> str:
    """The text with U+FFFD for lone surrogates, which UTF-8 cannot encode."""
    return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)


def _escape_in(text: str) -> Callable[[re.Match[str]], str]:
    joined = {found.start() for found in _JOINED.finditer(text)}
    return lambda found: found[0] if found.start() in joined else found[0].encode("unicode_escape").decode()


def _utf_16(letter: str) -> str:
    """The JSON escape of a character (RFC 8259, section 7)."""
    data = letter.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{data[at : at + 2].hex()}" for at in range(0, len(data), 2))
