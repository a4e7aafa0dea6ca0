"""A command as it may be stored and printed: with its arguments, but none that looks like a secret."""

from __future__ import annotations

import re
import shlex
from pathlib import PurePath

from checker.probes.http import shown_url

_SECRET_NAME = re.compile(r"token|secret|passw|api-?_?key|auth|credential", re.IGNORECASE)
_MOST = 200


def shown_command(program: str, args: tuple[str, ...]) -> str:
    """The program's name and arguments; addresses lose their credentials, options named like secrets their value."""
    shown, hide_next = [PurePath(program).name], False
    for arg in args:
        name, equals, _ = arg.partition("=")
        if hide_next:
            shown.append("***")
        elif equals and _SECRET_NAME.search(name):
            shown.append(f"{name}=***")
        elif "://" in arg:
            shown.append(_address(arg))
        else:
            shown.append(arg)
        hide_next = arg.startswith("-") and not equals and bool(_SECRET_NAME.search(arg))
    text = shlex.join(shown)
    return f"stdio: {text if len(text) <= _MOST else text[: _MOST - 1] + '…'}"


def _address(arg: str) -> str:
    try:
        return shown_url(arg)
    except ValueError:
        return "***"
