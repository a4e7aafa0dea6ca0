"""Matplotlib's SVG made suitable for a page: no ids, no inline styles, the page's colours, a third of the bytes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from xml.etree import ElementTree

from markupsafe import Markup, escape

from reports.charts.axes import SPAN_NAME
from reports.palette import LIGHT

_SVG = "{http://www.w3.org/2000/svg}"
_NUMBER = re.compile(r"-?\d+\.?\d*(?:e-?\d+)?")
_KEPT = (
    "fill",
    "stroke",
    "stroke-width",
    "stroke-dasharray",
    "opacity",
    "fill-opacity",
    "stroke-opacity",
    "text-anchor",
)
_NAMES = {colour: f"var(--{name})" for name, colour in reversed(LIGHT.items())}
_X_TICK = re.compile(r"xtick_(\d+)")
_TURNED = re.compile(r"rotate\((-?[\d.]+)")


def slim(svg: str, name: str) -> Markup:
    """The picture as an inline `svg` element, with this name for screen readers.

    Styles become attributes, which a content security policy without `unsafe-inline` allows; a marker that is used many
    times becomes one path of round dots.
    """
    root = ElementTree.fromstring(svg)  # noqa: S314 # matplotlib has just written it
    _, _, width, height = root.attrib["viewBox"].split()
    opening = Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(
        _round(width), _round(height), name
    )
    title = Markup("<title>{}</title>").format(name)
    return Markup(f"{opening}{title}{''.join(_drawn(root))}</svg>")  # noqa: S704 # every part is escaped below


def _drawn(element: ElementTree.Element, second: bool = False) -> Iterator[str]:
    """The elements inside an element, in order, with groups flattened.

    The labels of every ``second`` tick of the x axis and the names of spans have a class: a narrow page has no room for
    them.
    """
    dots: list[ElementTree.Element] = []
    for child in element:
        if child.tag == f"{_SVG}use":
            dots.append(child)
        elif child.tag == f"{_SVG}path":
            yield _path(child)
        elif child.tag == f"{_SVG}text":
            yield _text(child, second)
        elif child.tag == f"{_SVG}g" and child.attrib.get("id") != "patch_1":
            tick = _X_TICK.fullmatch(name := child.attrib.get("id", ""))
            second_one = second or name.startswith(SPAN_NAME)
            yield from _drawn(child, second_one if tick is None else int(tick[1]) % 2 == 0)
    if dots:
        yield _dots(dots)


def _path(path: ElementTree.Element) -> str:
    style = _style(path)
    if len(_NUMBER.findall(path.attrib.get("d", ""))) < 4 or (
        style.get("fill") == "none" and style.get("stroke", "none") == "none"
    ):
        return ""
    return f'<path d="{_short(path.attrib["d"])}"{_attributes(style)}/>'


def _dots(dots: list[ElementTree.Element]) -> str:
    """A dot at each of these places, all of the same style: lines of zero length with round ends."""
    style = _style(dots[0])
    places = "".join(f"M{_round(one.attrib['x'])} {_round(one.attrib['y'])}h0" for one in dots)
    colour = _NAMES.get(style.get("stroke", ""), style.get("stroke", "currentColor"))
    return f'<path class="dots" d="{places}" stroke="{escape(colour)}"/>'


def _text(text: ElementTree.Element, second: bool) -> str:
    style = _style(text)
    turned = _TURNED.match(text.attrib.get("transform", ""))
    x, y = text.attrib.get("x", "0"), text.attrib.get("y", "0")
    if "x" not in text.attrib and (moved := re.match(r"translate\((-?[\d.]+) (-?[\d.]+)\)", text.attrib["transform"])):
        x, y = moved.groups()
    spin = f' transform="{escape(text.attrib["transform"])}"' if turned and float(turned[1]) else ""
    place = f'x="{_round(x)}" y="{_round(y)}"'
    named = ' class="second"' if second else ""
    return f"<text {place}{named}{spin}{_attributes(style)}>{escape(''.join(text.itertext()))}</text>"


def _attributes(style: Mapping[str, str]) -> str:
    named = {key: _NAMES.get(style[key], style[key]) for key in _KEPT if key in style}
    if named.get("stroke") == "none":
        del named["stroke"]
    if "stroke" not in named:
        named.pop("stroke-width", None)
    return "".join(f' {key}="{escape(value)}"' for key, value in named.items())


def _style(element: ElementTree.Element) -> dict[str, str]:
    parts = (part.partition(":") for part in element.attrib.get("style", "").split(";"))
    return {key.strip(): value.strip() for key, _, value in parts if value}


def _short(path: str) -> str:
    """Coordinates rounded to a tenth, with the shortest possible separators."""
    rounded = _NUMBER.sub(lambda found: _round(found[0]), path)
    return re.sub(r"\s*([A-Za-z])\s*", r"\1", " ".join(rounded.split()))


def _round(number: str) -> str:
    return f"{round(float(number), 1):g}"
