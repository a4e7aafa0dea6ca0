"""Entry of a worker process: patch, then serve the frames on standard input until they end."""

import gc

from checker.processes.monkey_patching import patch

gc.disable()  # what is imported stays: looking through it again and again takes a tenth of the start
patch("checker.worker")

from checker.processes.process_end import leave  # noqa: E402 # everything else has to come after the patch
from checker.worker.pipe import serve  # noqa: E402 # the same

if __name__ == "__main__":
    leave(serve())
