"""Prints a banner on standard output and log lines on standard error; otherwise a proper server."""

import sys

from speaks import Message, session_era, speak


def logged(method: str, params: Message) -> Message | None:
    sys.stderr.write(f"INFO: {method}\n")
    sys.stderr.flush()
    return session_era(method, params)


sys.stdout.write("*** add server 1.0 ***\n")
sys.stdout.flush()
sys.stderr.write("INFO: starting\n")
speak(logged)
