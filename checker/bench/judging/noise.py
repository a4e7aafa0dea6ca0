"""Which measured latencies are no longer than what the client itself adds."""

from __future__ import annotations

import numpy as np

from checker.bench.client_bound import WithinNoise
from checker.bench.results import BenchRun
from checker.bench.summary import measured_stages
from checker.kinds import KIND_OF
from storage.rollups.histogram import Cells

RATIOS = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def within_noise(run: BenchRun) -> tuple[WithinNoise, ...]:
    """Percentiles over the measured stages that are not above the calibration's p99; none without a calibration."""
    floors = {calibration.operation: float(calibration.noise_p99_us) for calibration in run.calibrations}
    stages = set(measured_stages(run))
    slots = [slot for slot in run.slots if slot.stage in stages and slot.response] if floors else []
    group = np.array([slot.series for slot in slots], np.int64)
    table = Cells.of_blobs(group, [slot.response for slot in slots]).quantiles(len(run.series), list(RATIOS.values()))
    return tuple(
        WithinNoise(at, name, value, floor)
        for at, (series, row) in enumerate(zip(run.series, table.tolist(), strict=True))
        if (floor := floors.get(KIND_OF.get(series.operation, ""))) is not None
        for name, value in zip(RATIOS, row, strict=True)
        if value <= floor
    )
