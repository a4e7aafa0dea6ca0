"""Check servers again and again with the same workers: connections, tokens and addresses stay between the calls.

python examples/watch_servers.py 3 http://127.0.0.1:8000/health
"""

import sys
import time

from checker.api import Checker, server

rounds, addresses = int(sys.argv[1]), sys.argv[2:]
fleet = [
    server(f"server-{number}", rest={"url": url, "timeout": "2s", "retry": {"max_attempts": 3}}, tags=["demo"])
    for number, url in enumerate(addresses, 1)
]

with Checker() as checker:
    for number in range(1, rounds + 1):
        results = checker.check(fleet)
        pool = next(one for one in results.metrics.pools if one.kind == "rest")
        print(f"round {number}: {results.status}, {pool.created} connections opened, {pool.reused} reused")
        time.sleep(0.2)
    for advice in checker.history.recommendations():
        print(f"{advice.severity}: {advice.setting}: {advice.suggestion} ({advice.evidence})")
