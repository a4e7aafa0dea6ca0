"""Percentile spectra as text in the columns of HdrHistogram's ``.hgrm``, which plotters of it read."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from checker.bench.summary import HistogramName, Summary
from reports.bench.outcome import LoadTestOutcome
from reports.bench.tables import series_summaries
from storage.rollups.histogram import middle_us

_PER_HALVING = 5
"""Ticks for each halving of what is left above, as HdrHistogram's text has them by default."""
_HEAD = f"{'Value':>12} {'Percentile':>14} {'TotalCount':>10} {'1/(1-Percentile)':>14}\n\n"


def hgrm(outcome: LoadTestOutcome) -> str:
    """Response and service time in milliseconds: a block for each series, named in a comment before it."""
    parts = []
    for series, one in series_summaries(outcome.run):
        for histogram in ("response", "service"):
            title = f"# {series.scenario} {series.operation} {series.server}: {histogram} time, ms\n"
            parts.append(title + spectrum(one, histogram))
    return "\n".join(parts) or f"# {outcome.run.name}: nothing was played\n"


def spectrum(one: Summary, histogram: HistogramName) -> str:
    """One block: value, percentile as a ratio, samples up to it, and the odds against more."""
    cells = one.histograms[histogram]
    total = int(cells.count.sum())
    if not total:
        return f"{_HEAD}#[Mean = 0.000, StdDeviation = 0.000]\n#[Max = 0.000, Total count = 0]\n"
    values_ms, within = middle_us(cells.bin) / 1000, np.cumsum(cells.count)
    longest_ms = (one.quantile_us(1.0, histogram) or 0.0) / 1000
    rows = []
    for ratio in _ratios(total):
        place = int(np.searchsorted(within, np.ceil(ratio * total - 1e-9)))
        value = min(float(values_ms[place]), longest_ms)
        odds = f"{1 / (1 - ratio):14.2f}" if ratio < 1 else ""
        rows.append(f"{value:12.3f} {ratio:14.12f} {int(within[place]):10d} {odds}".rstrip() + "\n")
    mean = float((cells.count * values_ms).sum()) / total
    deviation = float(np.sqrt((cells.count * (values_ms - mean) ** 2).sum() / total))
    foot = f"#[Mean = {mean:12.3f}, StdDeviation = {deviation:12.3f}]\n"
    return f"{_HEAD}{''.join(rows)}{foot}#[Max = {longest_ms:12.3f}, Total count = {total:12d}]\n"


def _ratios(total: int) -> Iterator[float]:
    """From nothing to all, with as many steps for each halving of the rest, as far as there are samples."""
    step, left = 0, 1.0
    while left * total >= 1:
        yield 1 - left + left / 2 * (step % _PER_HALVING) / _PER_HALVING
        step += 1
        left = 0.5 ** (step // _PER_HALVING)
    yield 1.0
