"""Check the servers of a configuration file, and print each result as soon as it is there.

python examples/stream_checks.py fleet.yaml

Ctrl-C ends the run in order: what was checked until then is kept and counted.
"""

import sys

from checker.api import Checker, CheckerError

done = 0
try:
    with Checker("history.db") as checker:
        for check in checker.stream(sys.argv[1], max_concurrent=100):
            done += 1
            print(f"{check.status:<9}  {check.server}  {check.duration_us / 1000:.1f} ms  {check.detail or ''}")
        print(f"kept in {checker.database}, as run {checker.history.runs(1)[0].id}")
except KeyboardInterrupt:
    print(f"stopped after {done} checks")
except CheckerError as error:
    sys.exit(f"cannot check: {error}")
