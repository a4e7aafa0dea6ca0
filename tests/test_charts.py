"""Charts, strips, ticks and colours: what they draw, in few bytes, the same each time, and legible."""

from __future__ import annotations

import itertools
import re
import struct
from base64 import b64decode
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from reports import svg
from reports.charts import MOST_BARS, MOST_GREY, files, pictures
from reports.palette import COLOURED, DARK, LIGHT, SERIES
from reports.report_model import Chart, Line, Look, Mark, Scale, Shape, Span
from reports.svg import Picture, plot
from reports.ticks import clock, clock_ticks, short, time_ticks, value_ticks
from sample_reports import HOSTILE, HOUR_MS, times

DRAWN = [shape for shape in Shape if shape is not Shape.STATES]


def drawn(shape: Shape = Shape.LINES, values: Any = (1.0, 2.0, 3.0), images: str = "svg", **more: Any) -> Picture:
    rows = values if values and isinstance(values[0], list | tuple) else [values]
    lines = [Line(f"line {number}", list(row)) for number, row in enumerate(rows)]
    x = more.pop("x", times(len(rows[0]), HOUR_MS))
    return pictures([Chart(more.pop("title", "a chart"), shape, x, lines, **more)], images)[0]


def elements(picture: Picture) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(picture.markup).iter())


def paths(picture: Picture, colour: str) -> list[str]:
    return [one.attrib["d"] for one in elements(picture) if colour in (one.get("stroke"), one.get("fill"))]


@pytest.mark.parametrize("shape", DRAWN)
@pytest.mark.parametrize(
    "row",
    [
        pytest.param([5.0], id="one sample"),
        pytest.param([5.0] * 40, id="constant"),
        pytest.param([0.0] * 40, id="zero"),
        pytest.param([1e15 * n for n in range(40)], id="huge"),
        pytest.param([None, 3.0, None, None, 4.0, 5.0, None], id="gaps"),
        pytest.param([float("inf"), 1.0, float("nan"), 2.0, 1e300], id="not on an axis"),
        pytest.param([-3.0, 4.0, -5.0], id="negative"),
    ],
)
def test_every_shape_draws_whatever_the_values_are(shape: Shape, row: list[float | None]) -> None:
    assert drawn(shape, [row, row, row], unit="ms", threshold=4.0, marks=[Mark(times(1, 1)[0], "x")]).markup
    assert drawn(shape, [row, row, row], x_is_time=False, x=[f"word {n}" for n in range(len(row))]).markup


@pytest.mark.parametrize("shape", DRAWN)
def test_every_shape_is_drawn_as_png(shape: Shape) -> None:
    picture = drawn(shape, [[1.0, None, 3.0]] * 3, "png", title="p95 <b>")
    assert picture.markup.startswith('<img class="chart" width="560" height="210" alt="p95 &lt;b&gt;: ')


@pytest.mark.parametrize("shape", DRAWN)
@pytest.mark.parametrize("values", [[[]], [[None, None]], [[float("nan")]]])
def test_where_nothing_is_known_nothing_is_drawn(shape: Shape, values: Any) -> None:
    assert drawn(shape, values) == Picture()
    assert pictures([Chart("no lines", shape, [], [])]) == [Picture()]


def test_same_chart_gives_the_same_bytes() -> None:
    for images in ("svg", "png"):
        first, second = (drawn(Shape.BAND, [[1.0, 2.0], [0.5, 1.0], [2.0, 4.0]], images).markup for _ in range(2))
        assert first == second


def test_png_is_of_the_size_that_is_said_and_on_a_ground_of_its_own() -> None:
    pattern = r'width="(\d+)" height="(\d+)" alt="[^"]+" src="data:image/png;base64,([^"]+)"'
    found = re.search(pattern, drawn(images="png").markup)
    assert found is not None
    width, height = struct.unpack(">II", b64decode(found[3])[16:24])
    assert width / height == pytest.approx(int(found[1]) / int(found[2]), rel=0.01)


def test_svg_has_neither_ids_nor_inline_styles_nor_colours_of_its_own() -> None:
    for shape in DRAWN:
        markup = drawn(shape, [[1.0, 2.0, 3.0]] * 3, unit="ms", threshold=2.0).markup
        assert not re.search(r" id=|style|clip-path|<use|xlink|metadata|#[0-9a-f]{6}|url\(", markup), markup


def test_svg_is_named_for_who_cannot_see_it() -> None:
    root = elements(drawn(title="p95 <b>", unit="ms"))[0]
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"] == "p95 <b>: 1 line, values from 1 to 3 ms"


def test_gap_breaks_the_line_and_a_value_alone_is_a_dot() -> None:
    picture = drawn(Shape.LINES, [1.0, 2.0, None, 3.0, None, 2.0, 1.0])
    line, dots = paths(picture, "var(--c1)")
    assert line.count("M") == 3
    assert dots.count("h0") == 1


def test_colours_end_with_twelve_lines_and_the_rest_is_counted() -> None:
    picture = drawn(Shape.LINES, [[float(n), n + 1.0] for n in range(200)])
    assert len({(key.colour, key.dashes) for key in picture.keys[:COLOURED]}) == COLOURED
    assert picture.keys[-1].label == f"{MOST_GREY} more"
    assert picture.note == f"{200 - COLOURED - MOST_GREY} of 200 lines are left out of the picture."


def test_five_hundred_lines_of_ninety_days_stay_small() -> None:
    rows = [[float((n * 7 + day * 3) % 50) for day in range(90)] for n in range(500)]
    assert len(drawn(Shape.LINES, rows).markup) < 150_000


def test_bars_of_many_words_are_cut_with_a_word() -> None:
    picture = drawn(Shape.BARS, [float(n) for n in range(500)], x_is_time=False, x=[f"server {n}" for n in range(500)])
    assert picture.note == f"The first {MOST_BARS} of 500 are drawn."


def test_names_are_drawn_as_they_are_never_as_formulas_or_markup() -> None:
    picture = drawn(Shape.BARS, [1.0] * len(HOSTILE), x_is_time=False, x=list(HOSTILE))
    said = [one.text or "" for one in elements(picture)]
    assert "<script>alert(1)</script>" in said
    assert any(text.startswith("{{ 7 * 7 }} $\\frac{1}{2}$") for text in said)
    assert max(map(len, said)) < 60


def test_marks_are_numbered_and_named_beside_the_picture() -> None:
    x = times(24, HOUR_MS)
    picture = drawn(Shape.LINES, [1.0] * 24, x=x, marks=[Mark(x[3], "deploy"), Mark(x[9], "deploy again")])
    assert picture.marks == ["deploy", "deploy again"]
    assert {"1", "2"} <= {one.text for one in elements(picture)}


def test_threshold_lies_within_the_picture_and_is_in_the_key() -> None:
    picture = drawn(Shape.LINES, [1.0, 2.0], threshold=50.0, unit="ms")
    assert picture.keys[-1].label == "threshold 50 ms"
    (line,) = paths(picture, "var(--ink)")
    assert 0 < float(re.findall(r"[\d.]+", line)[1]) < 200


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, 1 to 21 (WCAG 2.2)."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    parts = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("ground", [LIGHT, DARK])
def test_colours_have_the_contrast_that_wcag_aa_asks_for(ground: dict[str, str]) -> None:
    for name in ("ink", "dim", "link", "good", "warning", "bad", "unknown"):
        assert contrast(ground[name], ground["ground"]) >= 4.5, name
    for name in ("good", "warning", "bad", "unknown"):
        assert contrast(ground[name], ground[f"{name}-ground"]) >= 4.5, name
        assert contrast(ground["ink"], ground[f"{name}-ground"]) >= 4.5, name
    for name in (*SERIES, "good", "warning", "bad"):
        assert contrast(ground[name], ground["ground"]) >= 3, name
    assert set(LIGHT) == set(DARK)


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@given(st.integers(0, 4 * 10**12), st.integers(0, 40 * 365 * 86_400_000))
def test_time_ticks_are_few_rising_and_within(since_ms: int, span_ms: int) -> None:
    ticks = time_ticks(since_ms, since_ms + span_ms)
    places = [place for place, _ in ticks]
    assert 1 <= len(ticks) <= 8
    assert places == sorted(set(places))
    assert since_ms <= places[0]
    assert places[-1] <= since_ms + span_ms


def test_time_ticks_are_round_in_utc_and_name_the_day() -> None:
    midnight = 1_795_392_000_000
    assert [words for _, words in time_ticks(midnight - 3 * HOUR_MS, midnight + 10 * HOUR_MS)] == [
        "22:00\n22 Nov",
        "23 Nov",
        "02:00",
        "04:00",
        "06:00",
        "08:00",
        "10:00",
    ]


@given(st.floats(-1e12, 1e12), st.floats(1e-6, 1e12))
def test_value_ticks_are_evenly_spaced_and_within(low: float, span: float) -> None:
    assume(span > abs(low) * 1e-6)  # below, neighbours among floating point numbers are too far apart
    high = low + span
    ticks = value_ticks(low, high)
    steps = [after - before for before, after in itertools.pairwise(ticks)]
    assert len(ticks) <= 7
    assert not steps or max(steps) - min(steps) <= span * 1e-6
    assert all(low - span * 1e-6 <= tick <= high + span * 1e-6 for tick in ticks)


@pytest.mark.parametrize(
    ("value", "words"),
    [(0, "0"), (0.25, "0.25"), (1500, "1,500"), (20_000, "20k"), (2.5e6, "2.5M"), (3e9, "3G"), (1e18, "1e18")],
)
def test_numbers_are_short(value: float, words: str) -> None:
    assert short(value) == words


def test_strip_tells_states_by_height_as_well_as_by_colour() -> None:
    markup = svg.strip([1.0, 1.0, 0.995, 0.95, 0.2, None], "search", 0.99)
    shapes = {one.get("class"): one.get("d") for one in ElementTree.fromstring(markup).iter() if one.get("class")}
    assert shapes.pop("strip") is None
    assert shapes == {
        "all": "M0 0H2V12H0z",
        "kept": "M2 0H3V12H2z",
        "part": "M3 3H4V12H3z",
        "low": "M4 6H5V12H4z",
        "none": "M5 10H6V12H5z",
    }
    assert 'aria-label="search: 6 cells, 1 not known, mean 82.9%, lowest 20.0%"' in markup


def test_strip_of_a_quiet_server_is_one_run() -> None:
    assert len(svg.strip([1.0] * 90, None)) < 200


def test_plot_breaks_at_gaps_and_says_no_data() -> None:
    x = times(5, HOUR_MS)
    picture = plot(x, [Line("p50", [1.0, None, 2.0, 3.0, None])], "ms", "latency")
    (path,) = paths(picture, "var(--c1)")
    assert path.count("M") == 2
    assert "h.1" in path
    assert plot(x, [Line("p50", [None] * 5)], "ms", "latency") == Picture()


def words(picture: Picture) -> list[str]:
    return [one.text or "" for one in elements(picture) if one.tag == "text"]


def numbers_axis(scale: Scale, x: list[float], **more: Any) -> Picture:
    return drawn(Shape.LINES, [float(n + 1) for n in range(len(x))], x=x, x_is_time=False, scale=scale, **more)


def test_axis_of_tails_is_marked_in_per_cent_as_far_as_there_are_values() -> None:
    said = words(numbers_axis(Scale.TAIL, [0.0, 0.5, 0.9, 0.95, 0.99, 0.999], x_label="percentile"))
    assert said[:5] == ["0", "50", "90", "99", "99.9"]
    assert "percentile" in said
    assert "99.99" not in said


def test_logarithmic_axis_is_marked_in_plain_numbers() -> None:
    said = words(numbers_axis(Scale.LOG, [1.0, 10.0, 100.0, 1000.0], x_label="users"))
    assert {"1", "10", "100", "1000"} <= {word.replace(",", "") for word in said}
    assert not any("$" in word for word in said)


def test_axis_of_a_run_is_marked_by_the_clock_and_names_its_stages_where_there_is_room() -> None:
    spans = [Span(0, 10, "warm-up", Look.SHADED), Span(10, 110, "hold"), Span(110, 112, "a spike of two seconds")]
    picture = numbers_axis(Scale.CLOCK, [float(n) for n in range(120)], spans=spans)
    said = words(picture)
    assert {"0:00", "0:30", "2:00", "hold"} <= set(said)
    assert "a spike of two seconds" not in said
    assert [key.label for key in picture.keys] == ["line 0", "not measured"]


@pytest.mark.parametrize("look", list(Look))
def test_stretch_is_drawn_within_the_picture_however_long_it_is(look: Look) -> None:
    spans = [Span(-1e6, 3, "before", look), Span(5, 1e6, "after", look), Span(7, 7, "nothing", look)]
    picture = numbers_axis(Scale.CLOCK, [float(n) for n in range(10)], spans=spans)
    for one in elements(picture):
        places = re.findall(r"(-?[\d.]+) (-?[\d.]+)", one.get("d", ""))
        assert all(0 <= float(x) <= 760 and 0 <= float(y) <= 240 for x, y in places), one.get("d")


def test_heat_is_the_darker_the_more_and_covers_its_edges() -> None:
    rows = [[1.0, 0.0, None, 1.0], [100.0, 100.0, 1.0, 0.0]]
    picture = drawn(Shape.HEAT, rows, x=[0, 1, 2, 3], x_is_time=False, scale=Scale.CLOCK, edges=[1.0, 10.0, 100.0])
    opacities = [float(one.get("opacity", 1)) for one in elements(picture) if one.get("fill") == "var(--c1)"]
    assert len(opacities) == 2, "a path for each darkness"
    assert opacities == sorted(opacities)
    assert [key.label for key in picture.keys] == ["1 to 2", "47 to 100"]


def test_dashed_line_lets_an_equal_one_behind_it_show() -> None:
    lines = [Line("response", [1.0, 2.0], dashed=True), Line("service", [1.0, 2.0])]
    (picture,) = pictures([Chart("a", Shape.LINES, [1, 2], lines, x_is_time=False)])
    assert [bool(one.get("stroke-dasharray")) for one in elements(picture) if one.get("stroke") in C1_C2] == [
        False,
        True,
    ]
    assert [bool(key.dashes) for key in picture.keys] == [True, False]


C1_C2 = ("var(--c1)", "var(--c2)")


@pytest.mark.parametrize("images", ["svg", "png"])
def test_picture_in_a_file_has_its_title_and_its_key(images: str) -> None:
    chart = Chart("Rate <of> all", Shape.LINES, times(3, HOUR_MS), [Line("offered", [1.0, 2.0, 3.0])])
    first, nothing = files([chart, Chart("none", Shape.LINES, [], [])], images)
    assert nothing == b""
    if images == "svg":
        said = {one.text for one in ElementTree.fromstring(first).iter()}
        assert {"Rate <of> all", "offered"} <= said
    else:
        assert first.startswith(b"\x89PNG")
    assert [first, nothing] == files([chart, Chart("none", Shape.LINES, [], [])], images)


@given(low=st.floats(0, 1e6), length=st.floats(0.5, 1e7), most=st.integers(2, 20))
def test_marks_of_the_clock_are_few_within_and_at_equal_distances(low: float, length: float, most: int) -> None:
    ticks = clock_ticks(low, low + length, most)
    places = [place for place, _ in ticks]
    assert len(places) <= most + 1
    assert all(low - 1e-6 <= place <= low + length + 1e-6 for place in places)
    assert len({round(after - before, 6) for before, after in itertools.pairwise(places)}) <= 1
    assert [words for _, words in ticks] == [clock(place) for place in places]


@pytest.mark.parametrize(
    ("at_s", "said"), [(0, "0:00"), (59.9, "0:59"), (61, "1:01"), (3600, "1:00:00"), (90061, "25:01:01")]
)
def test_moment_of_a_run_is_written_as_a_clock_does(at_s: float, said: str) -> None:
    assert clock(at_s) == said


def said_of(picture: Picture) -> set[str]:
    return {one.text or "" for one in elements(picture)}


def test_axis_that_does_not_start_at_zero_says_so() -> None:
    assert "ms" in said_of(drawn(values=[1.0, 2.0, 3.0], unit="ms"))
    assert "ms, not from zero" in said_of(drawn(values=[101.0, 102.0, 103.0], unit="ms"))
    assert "not from zero" in said_of(drawn(values=[101.0, 102.0]))
    assert "ms, logarithmic" in said_of(drawn(values=[1.0, 1000.0], unit="ms", log=True))
    assert "not from zero" not in said_of(drawn(Shape.BARS, values=[101.0, 102.0])), "bars always do"


def test_level_is_drawn_as_steps() -> None:
    x = times(4, HOUR_MS)
    lines = [Line("value", [10.0, 10.0, 30.0, 30.0]), Line("level", [10.0, 10.0, 30.0, 30.0], steps=True)]
    slope, steps = (paths(pictures([Chart("a", Shape.LINES, x, [line])])[0], "var(--c1)")[0] for line in lines)
    assert len(re.findall("[ML]", slope)) < len(re.findall("[ML]", steps))
    corners = [tuple(map(float, pair.split())) for pair in re.split("[ML]", steps)[1:]]
    assert all(one[0] == other[0] or one[1] == other[1] for one, other in itertools.pairwise(corners))


@pytest.mark.parametrize(
    ("shape", "more"),
    [
        (Shape.LINES, {}),
        (Shape.BARS, {}),
        (Shape.BARS, {"x_is_time": False, "x": ["one", "two", "three"]}),
        (Shape.STEPS, {"x_is_time": False, "x": [1, 10, 100], "scale": Scale.LOG}),
        (Shape.LINES, {"x_is_time": False, "x": [0.5, 0.9, 0.99], "scale": Scale.TAIL}),
        (Shape.STACK, {"x_is_time": False, "x": [0, 10, 20], "scale": Scale.CLOCK}),
    ],
)
def test_every_x_has_its_place_in_the_picture(shape: Shape, more: dict[str, Any]) -> None:
    picture = drawn(shape, **more)
    places = list(picture.places)
    assert places == sorted(set(places))
    across = shape is Shape.BARS and "x" in more
    assert 0 < places[0] < places[-1] < picture.size[across]
