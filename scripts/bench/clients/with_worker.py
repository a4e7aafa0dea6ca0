"""Checks with one worker of this checker; only the worker's CPU and memory are reported."""

from __future__ import annotations

import os
import resource
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from order import Order, peak_bytes_of, read_order, report

from checker.limits import Limits
from checker.model import Batch, Server, Status
from checker.probes.mcp.options import McpOptions
from checker.probes.options import Tls
from checker.probes.rest import RestOptions
from checker.run.queue import Shard, Shards
from checker.run.workers import RunnerOptions, run_shards


def servers(order: Order) -> Iterator[Server]:
    kind, options = ("mcp", McpOptions) if order.is_mcp else ("rest", RestOptions)
    tls = Tls(ca_file=order.authority)
    for number in range(order.checks):
        yield Server(name=f"server {number}", probes={kind: options(url=order.url(number), tls=tls)})


def worker_peak_bytes() -> int | None:
    """Peak memory of the only child of this process; None where the system does not say."""
    try:
        return peak_bytes_of(int(Path(f"/proc/self/task/{os.getpid()}/children").read_text()))
    except (OSError, ValueError):
        return None


def main(order: Order) -> None:
    found: Counter[Status] = Counter()
    peak_bytes: int | None = None

    def take(batch: Batch) -> None:
        nonlocal peak_bytes
        found.update(check.status for check in batch.checks)
        if found.total() == order.checks:
            peak_bytes = worker_peak_bytes()

    everything = list(servers(order))
    shards = [Shard(tuple(everything[start : start + 50])) for start in range(0, len(everything), 50)]
    limits = Limits(concurrency=order.concurrency, per_origin=order.concurrency)
    run_shards(Shards(shards), take, RunnerOptions(limits=limits))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    report(
        found[Status.HEALTHY],
        "gevent",
        "urllib3",
        "mcp-status-check",
        cpu_s=used.ru_utime + used.ru_stime,
        peak_bytes=peak_bytes,
    )


if __name__ == "__main__":
    main(read_order())
