"""Entry of a worker process: patch, then serve the frames on standard input until they end."""

import gc

from checker.lean_start import WITH_LATE_PATTERNS, patterns_when_used
from checker.processes.monkey_patching import patch

gc.disable()  # what is imported stays: looking through it again and again takes a tenth of the start
with patterns_when_used(WITH_LATE_PATTERNS):
    patch("checker.worker")
    from checker.processes.process_end import leave  # after the patch, as everything else
    from checker.worker.pipe import serve

if __name__ == "__main__":
    leave(serve())
