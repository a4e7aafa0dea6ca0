"""The end of a process that does not take the interpreter apart: that costs as much as a tenth of a short run."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from typing import NoReturn


def leave(code: int) -> NoReturn:
    """End the process with this exit code: exit handlers run, streams are flushed, and objects are not freed.

    Files and databases have to be closed by whoever opened them. The interpreter ends in its usual way, as by
    `sys.exit`, where somebody relies on it: a thread that is still at work, a profiler or debugger that writes its
    findings after the program, `python -i`, development mode.
    """
    if not _is_watched() and not _others_at_work():
        atexit._run_exitfuncs()
        if _flushed():
            os._exit(code)
    sys.exit(code)


def _is_watched() -> bool:
    return bool(sys.gettrace() or sys.getprofile() or sys.flags.inspect or sys.flags.dev_mode)


def _others_at_work() -> bool:
    return any(not one.daemon and one is not threading.main_thread() for one in threading.enumerate())


def _flushed() -> bool:
    """True if everything printed has left; if not, the interpreter says so as it ends."""
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:  # a closed pipe has taken it
                stream.flush()
    except (OSError, ValueError):
        return False
    return True
