"""A stdio server whose every answer is generated; arguments: the tests' folder, seed, number."""

import json
import random
import sys

sys.path.insert(0, sys.argv[1])
from fuzz_replies import ODD_RAW, message, mutated  # its folder is an argument

draw = random.Random(f"{sys.argv[2]} {sys.argv[3]}")
oddness = draw.choice((0.02, 0.1, 0.3))
for line in sys.stdin:
    try:
        request = json.loads(line)
    except ValueError:
        continue
    if "id" not in request or "method" not in request:
        continue
    if draw.random() < oddness / 5:
        print(draw.choice(ODD_RAW), file=draw.choice((sys.stdout, sys.stderr)), flush=True)
    if draw.random() < oddness / 20:
        sys.exit(draw.randrange(3))
    data = message(draw, request["method"], request["id"], oddness).encode("utf-8", "surrogatepass")
    if draw.random() < oddness / 5:
        data = mutated(draw, data)
    end = draw.choice((b"\r\n", b"\n\n", b"\0\n")) if draw.random() < oddness else b"\n"
    sys.stdout.buffer.write(data + end)
    sys.stdout.buffer.flush()
