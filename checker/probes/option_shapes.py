"""Whether options say the same beside their address: thousands of servers have few shapes of options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import astuple

from checker.structs import Options
from checker.wire import packed


class OptionShapes:
    """The shape of options: what they say beside their address, in a form that differs where any of it does.

    Options are compared with those of the same kind that came last, because most of their values are the same objects;
    packing them takes twice as long.
    """

    def __init__(self) -> None:
        self._last: dict[str, tuple[type[Any], tuple[Any, ...], bytes]] = {}
        self._not_plain: set[bytes] = set()

    def of(self, kind: str, options: Any) -> bytes | None:
        """The shape of these options of a probe kind; None for a probe that has no address."""
        last = self._last.get(kind)
        if last is not None and type(options) is last[0] and astuple(options)[1:] == last[1]:
            return last[2]
        if options.__struct_fields__[0] != "url" or not isinstance(url := options.url, str):
            return None
        # the address is packed first, so that it is the first occurrence that is taken out
        shape = packed(options).replace(packed(url), b"", 1)
        if shape not in self._not_plain:
            values = astuple(options)[1:]
            if all(map(_is_plain, values)):
                self._last[kind] = type(options), values, shape
            else:
                self._not_plain.add(shape)
        return shape


def _is_plain(value: Any) -> bool:
    """True if only what is packed alike is equal to it: 1, 1.0 and true are not, where options may have either."""
    if isinstance(value, Options):
        return all(map(_is_plain, astuple(value)))
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if isinstance(value, tuple):
        return all(isinstance(item, str) for item in value)
    return value is None or isinstance(value, str | int | float)
