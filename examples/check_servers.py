"""Check the servers whose addresses are given, all at the same time, and print what is wrong with them.

python examples/check_servers.py http://127.0.0.1:8000/health http://127.0.0.1:8000/mcp
"""

import sys

from checker.api import CheckerError, check

try:
    results = check(sys.argv[1:], max_concurrent=20)
except CheckerError as error:  # an address that is none, for example
    sys.exit(f"cannot check: {error}")

for one in results.problems:
    print(f"{one.server}: {one.status}, {one.reason}: {one.detail}")
print(f"{len(results)} servers in {results.duration_s:.1f} s: {results.status}")
sys.exit(results.exit_code)
