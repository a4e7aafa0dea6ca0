"""A proper server that goes on after its input was closed and after SIGTERM; only SIGKILL ends it."""

import signal
import time

from speaks import speak

for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
speak()
time.sleep(600)
