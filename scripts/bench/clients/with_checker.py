"""Checks with the whole of this checker, from its configuration file to committed rows; parent and worker count."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from order import Order, exit_when_terminated, read_order, report

HEALTHY = "select healthy + suspect + servers_cached from run_history order by run_id desc limit 1"
"""Of the newest run; on a machine that the benchmark keeps busy, suspect ones too."""


def configuration(order: Order) -> str:
    """The configuration file, as short as a user would write it."""
    kind = "mcp" if order.path in ("/mcp", "/modern") else "rest"
    per_origin = -(-order.concurrency // len(order.ports))  # servers of one origin are assigned one after the other
    lines = [f"run: {{workers: 1, concurrency: {order.concurrency}, per_origin: {per_origin}}}", "servers:"]
    lines += [f"  - {{name: server {number}, {kind}: '{order.url(number)}'}}" for number in range(order.checks)]
    return "\n".join(lines) + "\n"


def main(order: Order) -> None:
    exit_when_terminated()
    config, database = Path(order.folder) / "fleet.yaml", Path(order.folder) / "history.db"
    config.write_text(configuration(order))
    arguments = ["check", str(config), "-q", "--db", str(database), "--workers", "1"]
    arguments += sys.argv[2:]
    start = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "checker", *arguments])
    try:
        _, status, used = os.wait4(process.pid, 0)
    except BaseException:
        process.kill()
        raise
    wall_s = time.monotonic() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"the checker ended with {process.returncode}")
    with closing(sqlite3.connect(database)) as connection:
        (good,) = connection.execute(HEALTHY).fetchone()
    report(
        good,
        "mcp-status-check",
        cpu_s=used.ru_utime + used.ru_stime,
        wall_s=wall_s,
        peak_bytes=used.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
    )


if __name__ == "__main__":
    main(read_order())
