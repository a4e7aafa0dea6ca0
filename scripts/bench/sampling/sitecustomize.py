"""Python runs this as it starts where this folder is on its path: notes where it is, each tick of CPU time.

Each process writes {"imports" or "file:function": CPU seconds} to a file of its own in the folder SAMPLES_FOLDER. What
time the system and C code take counts for the function of this project that asked for it.
"""

import atexit
import json
import os
import signal
import sys
import time
from collections import Counter

EVERY_S = 0.001
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))) + os.sep
PACKAGES = tuple(ROOT + name + os.sep for name in ("checker", "storage", "reports"))

spent_s: Counter[str] = Counter()
used_s: dict[int, float] = {}
"""Thread -> its CPU until the last look."""
clock_of, clock, frames = time.pthread_getcpuclockid, time.clock_gettime, sys._current_frames


def place(frame):
    """The innermost function of this project; an import, whoever asked for it; else where the thread is."""
    name, innermost = None, frame
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith("<frozen importlib"):
            return "imports"
        if name is None and file.startswith(PACKAGES):
            name = f"{file[len(ROOT) :]}:{frame.f_code.co_qualname}"
        frame = frame.f_back
    code = innermost.f_code
    return name or f"{os.path.basename(code.co_filename)}:{code.co_qualname}"


def look(_signum, frame):
    """Add what each thread has used since the last look to where it is now."""
    own = threading_ident()
    for thread, at in frames().items():
        try:
            now_s = clock(clock_of(thread))
        except OSError:  # it has just ended
            continue
        more_s = now_s - used_s.get(thread, 0.0)
        used_s[thread] = now_s
        if more_s > EVERY_S / 10:
            spent_s[place(frame if thread == own else at)] += more_s


def write():
    """Leave the counts where they are looked for."""
    signal.setitimer(signal.ITIMER_PROF, 0)
    kind = "worker" if any("checker.worker" in word for word in sys.orig_argv) else "parent"
    with open(os.path.join(os.environ["SAMPLES_FOLDER"], f"{kind}-{os.getpid()}.json"), "w") as file:
        json.dump(spent_s, file)


if "SAMPLES_FOLDER" in os.environ:
    from _thread import get_ident as threading_ident

    signal.signal(signal.SIGPROF, look)
    signal.setitimer(signal.ITIMER_PROF, EVERY_S, EVERY_S)
    atexit.register(write)
