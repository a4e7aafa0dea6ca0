"""How servers may write down a secret that they were sent, and how to see that it is in a text."""

from __future__ import annotations

import base64
import html
import json
import os
import shlex
import textwrap
from collections.abc import Callable
from functools import lru_cache
from unicodedata import normalize
from urllib.parse import quote, quote_plus

EXAMPLES = int(os.environ.get("MCP_STATUS_EXAMPLES", "50"))
"""How many secrets are generated for each property, at least."""


def _unicode(text: str) -> str:
    """Every character as JSON may write it."""
    units = text.encode("utf-16-be")
    return "".join(f"\\u{units[at] << 8 | units[at + 1]:04x}" for at in range(0, len(units), 2))


def _base64(text: str, before: str = "", after: str = "") -> str:
    return base64.b64encode(f"{before}{text}{after}".encode()).decode()


ECHOES: dict[str, Callable[[str], str]] = {
    "raw": str,
    "upper": lambda text: text.upper() if len(text.upper()) == len(text) else text,
    "lower": lambda text: text.lower() if len(text.lower()) == len(text) else text,
    "collapsed": lambda text: " ".join(text.split()),
    "json": lambda text: json.dumps(text, ensure_ascii=False),
    "json, ascii": json.dumps,
    "json, slashes": lambda text: json.dumps(text).replace("/", "\\/"),
    "json in json": lambda text: json.dumps(json.dumps({"said": text})),
    "json, every character": _unicode,
    "repr": repr,
    "repr of bytes": lambda text: repr(text.encode()),
    "percent": lambda text: quote(text, safe=""),
    "percent, lower": lambda text: "".join(f"%{one:02x}" for one in text.encode()),
    "percent, twice": lambda text: quote(quote(text, safe=""), safe=""),
    "percent, loose": lambda text: quote(text, safe="/:@=+,;&!$'()*"),
    "form": quote_plus,
    "html": html.escape,
    "html, numbers": lambda text: "".join(f"&#{ord(one)};" for one in text),
    "html, hex": lambda text: "".join(f"&#x{ord(one):X};" for one in text),
    "json in html": lambda text: html.escape(json.dumps(text)),
    "base64": _base64,
    "base64, bare": lambda text: _base64(text).rstrip("="),
    "base64 of a pair": lambda text: _base64(text, "user:"),
    "base64 within": lambda text: _base64(text, "{a", "z}"),
    "base64 within, third": lambda text: _base64(text, "usr4:", "!"),
    "base64, urlsafe": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "base64, in lines": lambda text: "\n".join(textwrap.wrap(_base64(text), 20)),
    "base64, percent": lambda text: quote(_base64(text), safe=""),
    "hex": lambda text: text.encode().hex(),
    "hex, bytes apart": lambda text: text.encode().hex(" "),
    "percent, three times": lambda text: quote(quote("".join(f"%{one:02X}" for one in text.encode()))),
    "quoted-printable": lambda text: "".join(f"={one:02X}" for one in text.encode()),
    "octal": lambda text: "".join(f"\\{one:03o}" for one in text.encode()),
    "html, bare numbers": lambda text: "".join(f"&#{ord(one):05d}" for one in text),
    "normal": lambda text: normalize("NFD", text),
    "joined": lambda text: "\u200b".join(text),
    "coloured": lambda text: "\x1b[0m\x1b[1;31m".join(textwrap.wrap(text, 4, drop_whitespace=False)),
    "dashes": lambda text: "-".join(text),
    "listed": lambda text: json.dumps(list(text)),
    "quoted for a shell": shlex.quote,
    "hex, upper": lambda text: text.encode().hex().upper(),
    "latin": lambda text: text.encode().decode("latin-1"),
    "header": lambda text: f"Bearer {text}",
    "cookie": lambda text: f"a=b; session={text}; c=d",
    "cut": lambda text: text[: max(8, len(text) * 2 // 3)],
}
"""Name -> what is made of a secret."""


_LETTER_BY_LETTER = (
    "json, every character",
    "percent, lower",
    "html, numbers",
    "html, hex",
    "hex",
    "hex, upper",
    "octal",
    "quoted-printable",
)


def echoed(secret: str, echo: str) -> str:
    """The secret as this server writes it."""
    return ECHOES[echo](secret)


@lru_cache(maxsize=64)
def _folded(text: str) -> tuple[str, str]:
    """The text in lower case, and without white space."""
    low = text.lower()
    return low, "".join(low.split())


def leaks(secret: str, echo: str, text: str) -> list[str]:
    """In which forms the secret, or a telling part of it, is in the text."""
    found = []
    low, squeezed = _folded(text)
    for name, known in (("start", secret[:8]), ("end", secret[-8:])):
        telling = known.isascii() and known.isalnum() and not (echo == "cut" and name == "end")
        if telling and (known.lower() in low or known.lower() in squeezed):
            found.append(name)
    said = echoed(secret, echo)
    if echo != "cut" and (said in text or "".join(said.lower().split()) in squeezed):
        found.append("as it was said")
    if echo in _LETTER_BY_LETTER and echoed(secret[:6], echo).lower() in low:
        found.append("its beginning as it was said")
    for before in range(3):
        inner = base64.b64encode(bytes(before) + secret[:12].encode()).decode()
        if (part := inner[4 if before else 0 : 12]) in text:
            found.append(f"base64: {part}")
    return found
