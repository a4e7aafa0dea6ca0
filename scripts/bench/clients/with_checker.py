"""Checks with the whole of this checker, from its configuration file to committed rows; parent and workers count.

``--history FILE`` is a database that has a history already: its servers are checked, under their names there.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

from order import Order, exit_when_terminated, peak_bytes_of, report

HEALTHY = "select healthy + suspect + servers_cached from run_history where run_id = ?"
"""Of a run; on a machine that the benchmark keeps busy, suspect ones too."""
NEWEST = "select max(id) from runs"
"""Asked by itself: within the question above the view would count the checks of every run."""
WORKERS = "select cpu_ms, peak_memory_bytes from run_workers where run_id = ?"
LOOKED_AT_EACH_S = 0.05


def configuration(order: Order, workers: int, history: Path | None) -> str:
    """The configuration file, as short as a user would write it."""
    kind = "mcp" if order.is_mcp else "rest"
    # Servers of one origin are assigned one after the other, and each origin is to have its share of those at once.
    per_origin = "" if order.own_origins else f", per_origin: {-(-order.concurrency // len(order.ports))}"
    lines = [f"run: {{workers: {workers}, concurrency: {order.concurrency}{per_origin}}}"]
    names = [f"server {number}" for number in range(order.checks)]
    if history is not None:
        # What a run does once an hour is left out, else the sample in which it falls would tell of that alone.
        lines.append("history: {max_size: null, after_runs: false}")
        names = names_in(history)[: order.checks]
    lines.append("servers:")
    lines += [f"  - {{name: {name}, {kind}: '{order.url(number)}'}}" for number, name in enumerate(names)]
    return "\n".join(lines) + "\n"


def names_in(database: Path) -> list[str]:
    """The servers of a history."""
    with closing(sqlite3.connect(database)) as connection:
        return [name for (name,) in connection.execute("select name from servers order by id")]


def peak_while_it_runs(pid: int, ended: threading.Event, found: list[int]) -> None:
    """Append what the most memory of the process is, again and again: when it has ended nobody says it any more."""
    while not ended.wait(LOOKED_AT_EACH_S):
        found.append(peak_bytes_of(pid) or 0)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("order")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--history", type=Path)
    parser.add_argument("--max-age")
    asked = parser.parse_args()
    order = Order.read(asked.order)
    exit_when_terminated()
    config, database = Path(order.folder) / "fleet.yaml", asked.history or Path(order.folder) / "history.db"
    config.write_text(configuration(order, asked.workers, asked.history))
    arguments = ["check", str(config), "-q", "--db", str(database), "--workers", str(asked.workers)]
    arguments += ["--max-age", asked.max_age] if asked.max_age else []
    start, ended, peaks = time.monotonic(), threading.Event(), list[int]()
    process = subprocess.Popen([sys.executable, "-m", "checker", *arguments])
    threading.Thread(target=peak_while_it_runs, args=(process.pid, ended, peaks), daemon=True).start()
    try:
        _, status, used = os.wait4(process.pid, 0)
    except BaseException:
        process.kill()
        raise
    finally:
        ended.set()
    wall_s = time.monotonic() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"the checker ended with {process.returncode}")
    with closing(sqlite3.connect(database)) as connection:
        newest = connection.execute(NEWEST).fetchone()
        (good,) = connection.execute(HEALTHY, newest).fetchone()
        workers = connection.execute(WORKERS, newest).fetchall()
    report(
        good,
        "mcp-status-check",
        cpu_s=used.ru_utime + used.ru_stime,
        workers_cpu_s=sum(cpu_ms for cpu_ms, _ in workers) / 1000,
        wall_s=wall_s,
        peak_bytes=used.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        parent_peak_bytes=max(peaks, default=0) or None,
        worker_peak_bytes=max((peak for _, peak in workers), default=None),
    )


if __name__ == "__main__":
    main()
