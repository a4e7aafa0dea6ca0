"""A command as it may be stored and printed: with its arguments, but none that may be a secret."""

from __future__ import annotations

import shlex
from functools import lru_cache
from pathlib import PurePath

from checker.probes.http import shown_url
from checker.secrets.parts import split_argument
from checker.secrets.plain_values import is_flag, is_plain
from checker.secrets.redactor import MASK
from checker.sensitive import SecretPart, in_arguments

_MOST = 200


@lru_cache(maxsize=4096)
def shown_command(program: str, args: tuple[str, ...]) -> str:
    """The program's name and arguments; of an address scheme, host and path; of what may be a secret, nothing."""
    text = shlex.join(shown_words(program, args))
    return f"stdio: {text if len(text) <= _MOST else text[: _MOST - 1] + '…'}"


def shown_words(program: str, args: tuple[str, ...]) -> list[str]:
    """The words of a command, each as it may be stored and printed; the program by its name alone."""
    shown, before = [PurePath(program).name], ""
    for arg, parts in zip(args, in_arguments(args), strict=True):
        name, value = split_argument(arg)
        if parts and not name and "://" not in arg:
            shown.append(_without(arg, parts))
        elif name and is_plain(
            name.lstrip("-"), before.lstrip("-")
        ):  # what follows --token is no name, whatever is in it
            shown.append(arg[: len(arg) - len(value)] + _shown(value, name.lstrip("-")))
        elif is_flag(arg):
            shown.append(arg)
        else:
            shown.append(_shown(arg, before.lstrip("-")))
        before = arg if is_flag(arg) else ""
    return shown


def _without(arg: str, parts: tuple[SecretPart, ...]) -> str:
    """The argument with a mask for each part; all of it where what is left may still be a secret."""
    shown = arg
    for part in sorted(parts, key=lambda one: one.start, reverse=True):
        shown = shown[: part.start] + MASK + shown[part.end :]
    return shown if all(is_plain(left) for left in shown.split(MASK)) else MASK


def _shown(value: str, name: str) -> str:
    if is_plain(value, name):
        return value
    if "://" in value and is_plain("text", name):
        try:
            address = shown_url(value)
        except ValueError:
            return MASK
        if " " not in address and is_plain(address.partition("?")[0], name):
            return address
    return MASK
