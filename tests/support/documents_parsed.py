"""What every page of ours keeps to, found by parsing it as browsers do."""

from __future__ import annotations

from collections import Counter
from xml.etree.ElementTree import Element

import html5lib


def parsed(page: str) -> Element:
    """The page as a tree; fails on what the HTML standard calls a parse error."""
    parser = html5lib.HTMLParser(namespaceHTMLElements=False)
    tree: Element = parser.parse(page)
    assert parser.errors == []
    return tree


def valid_page(page: str) -> Element:
    """The page as a tree, with what a good page has: language, title, landmarks, names, ids once, nothing outside."""
    tree = parsed(page)
    assert tree.attrib["lang"] == "en"
    assert len(tree.findall(".//title")) >= 1
    assert [len(tree.findall(f".//{name}")) for name in ("main", "h1", "header", "footer")] == [1, 1, 1, 1]
    ids = Counter(one.attrib["id"] for one in tree.iter() if "id" in one.attrib)
    assert [name for name, times in ids.items() if times > 1] == []
    for one in tree.iter():
        assert not {name for name in one.attrib if name.startswith("on") or name == "style"}, one.attrib
        for name in ("href", "src"):
            assert outside(one.attrib.get(name, "")) is False, one.attrib
        for label in (one.attrib.get("aria-labelledby"), one.attrib.get("href", "")[1:]):
            if label and (one.attrib.get("href", "#").startswith("#")):
                assert label in ids, label
    for table in tree.iter("table"):
        assert table.find("caption") is not None
        assert all(head.attrib["scope"] == "col" for head in table.findall("thead/tr/th"))
        assert all(row.find("th").attrib["scope"] == "row" for row in table.findall("tbody/tr"))  # type: ignore[union-attr]
    for image in (*tree.iter("img"), *(one for one in tree.iter() if str(one.tag).endswith("svg"))):
        assert image.attrib.get("alt") or image.attrib.get("aria-label") or image.attrib.get("aria-hidden") == "true"
    return tree


def outside(address: str) -> bool:
    """Whether an address leads anywhere but into the page, its neighbours or itself."""
    return "://" in address or address.startswith(("//", "/")) or address.lower().startswith("javascript:")


def texts(tree: Element) -> set[str]:
    """All texts of elements."""
    return {one.text for one in tree.iter() if one.text}
