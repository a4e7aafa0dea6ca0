"""Look at what earlier runs have stored: checks as records, a report, SQL, and a pandas frame.

python examples/read_history.py history.db
"""

import sys

from checker.api import CheckerError, History

history = History(sys.argv[1])
try:
    for name in history.servers():
        newest, *_ = history.checks(name, since="24h", limit=10)
        print(f"{name}: {newest.status}, {newest.duration_us / 1000:.1f} ms")
except CheckerError as error:
    sys.exit(f"cannot read: {error}")

for row in history.records("availability", since="30d"):
    print(f"{row['server']}: {row['availability_ratio']:.3%} available")

query = "select server, count(*) as checks from check_history where status <> :status group by server"
for row in history.sql(query, {"status": "HEALTHY"}):
    print(f"{row['server']}: {row['checks']} checks that were not healthy")

try:
    frame = history.frame("select server, started_at, duration_ms from check_history")
except CheckerError as error:  # pandas is not installed
    print(error)
else:
    print(frame.groupby("server")["duration_ms"].describe()[["count", "mean", "max"]])
