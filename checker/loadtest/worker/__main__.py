"""Entry point of a worker that makes load: patch, then serve the messages on standard input until they end."""

import sys

from checker.processes.monkey_patching import patch

patch("checker.loadtest.worker")

from checker.loadtest.worker.pipe import serve  # noqa: E402 # everything else has to come after the patch

if __name__ == "__main__":
    sys.exit(serve())
