"""The output forms of a load test's report, by name, and a folder with several of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from msgspec.structs import replace

from checker.errors import UsageError
from reports import html as pages
from reports.loadtests.exports import csv, hgrm, junit, markdown, prometheus, slots_csv
from reports.loadtests.json_document import json
from reports.loadtests.outcome import LoadTestOutcome
from reports.loadtests.report import report_of, text
from reports.report_model import Shape


def html(outcome: LoadTestOutcome) -> str:
    """The report as one self-contained page, without sections that have nothing."""
    report = report_of(outcome)
    shown = [one for one in report.sections if one.table or one.charts or one.name == "thresholds"]
    return pages.page(replace(report, sections=shown))


FORMS: Mapping[str, Callable[[LoadTestOutcome], str]] = {
    "table": text,
    "html": html,
    "json": json,
    "csv": csv,
    "csv-slots": slots_csv,
    "markdown": markdown,
    "junit": junit,
    "hgrm": hgrm,
    "prometheus": prometheus,
}
"""The values of ``--format``."""
FILES: Mapping[str, str] = {
    "table": "report.txt",
    "html": "report.html",
    "json": "report.json",
    "csv": "stages.csv",
    "csv-slots": "slots.csv",
    "markdown": "report.md",
    "junit": "junit.xml",
    "hgrm": "percentiles.hgrm",
    "prometheus": "bench.prom",
}
"""Names of the forms' files in a folder."""
IMAGES = ("png", "svg")
"""Further files in a folder: each chart as a file of its own."""


def write_folder(outcome: LoadTestOutcome, folder: Path, names: Collection[str]) -> list[Path]:
    """Write these forms and images into the folder, which is created; returns the files, in order.

    Existing files of these names are replaced, nothing else is touched. Raises UsageError if the folder cannot be
    written, and KeyError for a name that is neither a form nor a kind of image.
    """
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            files = _charts(outcome, name) if name in IMAGES else [(FILES[name], FORMS[name](outcome).encode())]
            for file, data in files:
                (folder / file).parent.mkdir(exist_ok=True)
                (folder / file).write_bytes(data)
                written.append(folder / file)
    except OSError as error:
        raise UsageError(f"{error.filename or folder}: {error.strerror}; name a folder that can be written") from None
    return written


def _charts(outcome: LoadTestOutcome, images: str) -> Iterator[tuple[str, bytes]]:
    """Each chart of the report that has data."""
    from reports.charts import files  # half a second, which a run without charts need not wait for

    report = report_of(outcome)
    charts = [
        (f"{section.name}-{place}-{_slug(chart.title)}", chart)
        for section in report.sections
        for place, chart in enumerate(section.charts, 1)
        if chart.shape is not Shape.STATES
    ]
    for (name, _), data in zip(charts, files([chart for _, chart in charts], images), strict=True):
        if data:
            yield f"charts/{name}.{images}", data


def _slug(title: str) -> str:
    """The title as part of a file name: small letters, digits and hyphens, short."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:40].rstrip("-")
