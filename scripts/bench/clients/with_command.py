"""A whole command of this checker from its start to its end, as a user types it: `--help`, or a check."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from order import Order, exit_when_terminated, report


def main() -> None:
    order, what = Order.read(sys.argv[1]), sys.argv[2]
    exit_when_terminated()
    config, database = Path(order.folder) / "fleet.yaml", Path(order.folder) / "history.db"
    arguments = ["--help"]
    if what == "check":
        servers = "".join(f"  - {{name: server {one}, rest: '{order.url(one)}'}}\n" for one in range(order.checks))
        config.write_text(f"servers:\n{servers}")
        arguments = ["check", str(config), "-q", "--db", str(database)]
    start = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "checker", *arguments], stdout=subprocess.DEVNULL)
    try:
        _, status, used = os.wait4(process.pid, 0)
    except BaseException:
        process.kill()
        raise
    wall_s = time.monotonic() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    cpu_s = used.ru_utime + used.ru_stime
    report(order.checks if process.returncode == 0 else 0, "mcp-status-check", cpu_s=cpu_s, wall_s=wall_s)


if __name__ == "__main__":
    main()
