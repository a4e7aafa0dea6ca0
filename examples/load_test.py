"""Put load on a server, judge it by thresholds, and write the report.

python examples/load_test.py http://127.0.0.1:8000/health 10 results

The second argument is how many seconds it takes. Load goes to loopback and private addresses only.
"""

import sys

from checker.api import Benchmark

url, seconds, folder = sys.argv[1], float(sys.argv[2]), sys.argv[3]
benchmark = Benchmark("history.db", calibrate=False)
result = benchmark.load(url, rate=50, duration=seconds, thresholds=["p(99)<500", "failed:rate<0.01"])
for one in result.thresholds:
    print(f"{one.metric} {one.expression}: {one.value} {'held' if one.passed else 'broken'}")
print(f"p99 {result.p99_ms} ms at {result.ok_per_s:.0f} per second: {'passed' if result.passed else 'failed'}")
for file in result.write(folder, ["html", "json", "csv"]):
    print(file)
