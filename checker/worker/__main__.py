"""Entry of a worker process: patch, then serve the frames on standard input until they end."""

import sys

from checker.processes.monkey_patching import patch

patch("checker.worker")

from checker.worker.pipe import serve  # noqa: E402 # everything else has to come after the patch

if __name__ == "__main__":
    sys.exit(serve())
