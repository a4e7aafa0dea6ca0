"""A process that does large work for a worker, within a time and memory limit enforced by the system.

Content from a server can end only this process, never the worker, whose other greenlets keep running meanwhile. It has
no sockets and no greenlets: frames arrive on standard input, and answers go out on standard output.
"""

from __future__ import annotations

import logging
import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from checker.messages import Job, JobDone
from checker.secrets.known_secrets import Masking, go_on
from checker.wire import frame, messages, reader

_KIB = 1024
_LABEL = b"VmHWM:"


def peak_memory_bytes() -> int:
    """Peak memory since this program began to run.

    getrusage(2) would count the memory resident in the parent process at the start: Linux keeps ``ru_maxrss`` over
    execve(2). The high water mark of proc(5) begins anew with each program.
    """
    with suppress(OSError, IndexError, ValueError, StopIteration), open("/proc/self/status", "rb") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(_LABEL)) * _KIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIB


MEMORY_BYTES = 1024**3
"""Address space of the process."""
_GROWN_BYTES = 256 * 1024**2
log = logging.getLogger(__name__)


def serve() -> int:
    """Do one job after another until there are no more, or until a job has left the process too large."""
    from checker.probes.offloaded_jobs import JOBS  # every worker loads this module, and does none of the jobs

    read_fd, write_fd = os.dup(0), os.dup(1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # a stray print goes to stderr, never into the frames
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(ValueError, OSError):  # a system may allow less than it says
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    job: Job
    for job in messages(lambda most: os.read(read_fd, most), reader(Job)):
        view = memoryview(frame(_answer(job, JOBS)))
        while view:
            view = view[os.write(write_fd, view) :]
        if peak_memory_bytes() > _GROWN_BYTES:
            break
    return 0


def _answer(job: Job, jobs: Mapping[str, Callable[..., Any]]) -> JobDone:
    signal.setitimer(signal.ITIMER_PROF, job.cpu_s)  # SIGPROF ends the process, whatever it is doing
    go_on(Masking(*job.secrets))  # a server may have repeated them in what is judged
    try:
        return JobDone(jobs[job.name](*job.args))
    except MemoryError:
        return JobDone(fault=f"takes more than {MEMORY_BYTES // 1024**2} MiB of memory to be judged")
    except Exception as error:
        log.exception("job %s", job.name)
        return JobDone(fault=f"cannot be judged: {type(error).__name__}")
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


if __name__ == "__main__":
    sys.exit(serve())
