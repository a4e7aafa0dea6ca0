"""Entry of a process that makes load: patch, then serve the frames on standard input until they end."""

import sys

LOADED_TOO_EARLY = 4
"""Exit code: a module was imported before the patch, so its sockets would block every greenlet."""

for _name in ("ssl", "urllib3", "requests"):
    if _name in sys.modules:
        sys.stderr.write(f"checker.bench.worker: {_name} was imported before the worker could patch it\n")
        sys.exit(LOADED_TOO_EARLY)

from gevent import monkey  # noqa: E402 # the check above has to come first

monkey.patch_all()

from checker.bench.worker.serve import serve  # noqa: E402 # everything else has to come after the patch

if __name__ == "__main__":
    sys.exit(serve())
