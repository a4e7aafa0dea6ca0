"""The most memory that this process has had resident."""

from __future__ import annotations

import resource
from contextlib import suppress

_KIB = 1024
_LABEL = b"VmHWM:"


def peak_memory_bytes() -> int:
    """The most since this program began to run.

    getrusage(2) would count what the process that started it had resident at that moment: Linux keeps ``ru_maxrss``
    over execve(2). The high water mark of proc(5) begins anew with each program.
    """
    with suppress(OSError, IndexError, ValueError, StopIteration), open("/proc/self/status", "rb") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(_LABEL)) * _KIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIB
