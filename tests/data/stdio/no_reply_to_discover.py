"""Says nothing to a method it does not know; otherwise a proper server of the session era."""

from speaks import Message, session_era, speak


def answer(method: str, params: Message) -> Message | None:
    known = ("initialize", "ping", "tools/list", "tools/call")
    return session_era(method, params) if method in known else None


speak(answer)
