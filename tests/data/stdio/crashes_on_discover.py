"""Exits with code 1 where the first message is not initialize; otherwise a proper server."""

import sys

from speaks import Message, session_era, speak

first = True


def answer(method: str, params: Message) -> Message | None:
    global first
    if first and method != "initialize":
        sys.exit(f"KeyError: {method!r}")
    first = False
    return session_era(method, params)


speak(answer)
