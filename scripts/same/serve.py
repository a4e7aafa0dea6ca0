"""The process that serves a generated fleet.

Takes the plan as a line of JSON and says "ready"; then changes what changes at each further line; ends with its input.
"""

from __future__ import annotations

import json
import ssl
import sys
from contextlib import ExitStack
from pathlib import Path
from random import Random

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests"), str(ROOT / "tests" / "support")]

from same.fleet import Plan, World, fleet

CERTIFICATES = ("good", "expired", "expires_soon", "wrong_host", "unknown_authority", "self_signed")


def contexts(folder: Path) -> dict[str, ssl.SSLContext]:
    """TLS contexts of the certificates in the folder: the same in each process, for when they end is a stored fact."""
    found = {}
    for name in CERTIFICATES:
        found[name] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        found[name].load_cert_chain(folder / f"{name}.pem")
    return found


def main() -> None:
    plan = Plan(**json.loads(sys.stdin.readline()))
    folder = Path(plan.folder)
    with ExitStack() as stack:
        world = World(Random(0), folder, plan.ports, contexts(folder), stack)
        fleet(plan, world)
        print("ready", flush=True)
        while sys.stdin.readline():
            for change in world.changes:
                change()
            print("changed", flush=True)


if __name__ == "__main__":
    main()
