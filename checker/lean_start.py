"""Less to load as a process of ours starts: half a second would go into what most runs never use.

Nothing here changes what a module does, only when its parts are made. Commands and workers call it for their own
process; who imports the packages as a library gets everything in the usual way.
"""

from __future__ import annotations

import _thread
import re
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any, cast

from checker.late_patterns import late

WITH_LATE_PATTERNS = frozenset({"logging", "platform", "string", "textwrap", "tokenize", "urllib3.util.url"})
"""Modules whose regular expressions few runs use, for `patterns_when_used`. Those of the last one, which urllib3 reads
addresses with, take as long to compile as hundreds of checks."""
_LOADING = _thread.RLock()


def load_when_used(name: str) -> None:
    """Let this module be loaded by the first look into it, unless it is there already.

    A stand-in takes its place until then, and has all that it has afterwards. (The lazy loader of importlib loads with
    the second import.)
    """
    if name in sys.modules:
        return
    stand_in = ModuleType(name)

    def look(wanted: str) -> Any:
        if wanted.startswith("__"):  # as an import asks of what it finds
            raise AttributeError(wanted)
        with _LOADING:
            if sys.modules.get(name) is stand_in:
                del sys.modules[name]
            module = import_module(name)
        vars(stand_in).update({what: value for what, value in vars(module).items() if not what.startswith("__")})
        return getattr(module, wanted)

    vars(stand_in)["__getattr__"] = look
    sys.modules[name] = stand_in


@contextmanager
def patterns_when_used(modules: Collection[str]) -> Iterator[None]:
    """While these modules are imported, the regular expressions that they compile are compiled by their first use.

    They must call methods of their expressions, and hand them to nobody who asks what they are.
    """
    usual = re.compile

    def compiled(pattern: Any, flags: Any = 0) -> Any:
        caller = sys._getframe(1).f_globals.get("__name__")
        return late(pattern, flags) if caller in modules else usual(pattern, flags)

    re.compile = cast("Any", compiled)
    try:
        yield
    finally:
        re.compile = usual


def load_msgspec() -> None:
    """Load msgspec with what Python's own typing has: it prefers typing_extensions, which is as large as itself."""
    if "msgspec" in sys.modules or "typing_extensions" in sys.modules:
        return
    absent = cast("dict[str, Any]", sys.modules)
    absent["typing_extensions"] = None
    try:
        import msgspec  # noqa: F401 # for whoever imports it next
    finally:
        del absent["typing_extensions"]
