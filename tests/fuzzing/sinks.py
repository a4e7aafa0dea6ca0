"""Targets of what is shown: any text, in every sink."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from xml.etree import ElementTree

from checker.untrusted_text import (
    csv_cell,
    json_text,
    label_value,
    lines,
    markdown,
    markdown_code,
    markup,
    storable,
    terminal,
)

_ACTS = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Categories of Unicode that change what is seen instead of being seen: controls, formats, surrogates, separators."""
_JOINERS = "\u200c\u200d"
"""Joiners are part of words and of emoji, and change nothing else."""
_SEEN = "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
"""Formats that are seen: the prepended concatenation marks, such as Arabic's number sign (PropList.txt)."""


def shown_text(data: bytes) -> None:
    """A text is one line without a control in a terminal, and the same text, as text, everywhere else."""
    text = data.decode("utf-8", "surrogateescape")
    assert not _acting(terminal(text)), ascii(terminal(text))
    assert not _acting(lines(text), "\n\r\t")
    ElementTree.fromstring(_element(markup(text)))
    cell = csv_cell(text)
    assert cell[:1] not in ("=", "@", "\t", "\r"), ascii(cell)
    written = io.StringIO()
    csv.writer(written).writerow([cell])
    assert json.loads(json_text(json.dumps(text, ensure_ascii=False))) == text
    for flat in (markdown(text), markdown_code(text), label_value(text)):
        assert "\n" not in flat
        assert not _acting(flat)
    assert len(storable(text, 50)) <= 50
    storable(text, 50).encode()


def _acting(text: str, allowed: str = "") -> list[str]:
    return [one for one in text if unicodedata.category(one) in _ACTS and one not in allowed + _JOINERS + _SEEN]


def _element(text: str) -> bytes:
    element = ElementTree.Element("a", {"b": text})
    element.text = text
    return ElementTree.tostring(element, "utf-8", xml_declaration=True)
