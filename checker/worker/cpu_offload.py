"""The worker's side of `cpu_offload_process`: processes that start with the first large piece of work."""

from __future__ import annotations

import os
import signal
import sys
from time import perf_counter
from typing import Any

import gevent
from gevent.lock import BoundedSemaphore
from gevent.os import make_nonblocking, nb_read, nb_write

from checker.messages import Job, JobDone
from checker.probes.offload import TooMuch
from checker.processes.orphans import die_with
from checker.secrets.known_secrets import current
from checker.wire import Frames, frame, reader
from checker.worker.greenlets import DeadlinePassed
from checker.worker.programs_patched import patch_subprocess

CPU_S = 2.0
"""CPU time of one job; the system ends the process that takes more."""
_SHORT_S = 0.3
"""The same in the lane for short work; a job that takes more is restarted in the other lane."""
_LONG_BYTES = 2 * 1024 * 1024
_READ_BYTES = 1 << 20
_WALL_S = 30.0
"""Time limit for a machine so busy that the job's CPU time does not pass."""


class Judges:
    """Two lanes, so that long work does not hold up short work; each lane does one job at a time."""

    def __init__(self) -> None:
        self._short, self._long = _Judge(), _Judge()

    def run(self, job: str, args: list[Any], length: int) -> Any:
        """The job's value; raises TooMuch. If the waiting greenlet is interrupted, the job is ended."""
        if length <= _LONG_BYTES:
            try:
                return self._short.run(job, args, _SHORT_S)
            except _OutOfTime:
                pass
        return self._long.run(job, args, CPU_S)

    def end(self) -> None:
        """End both processes."""
        self._short.drop()
        self._long.drop()


class _OutOfTime(TooMuch):
    """The CPU time limit of the job has passed."""


class _Judge:
    """One process, with one job at a time."""

    def __init__(self) -> None:
        self._turn = BoundedSemaphore(1)
        self._process: Any = None
        self._in = self._out = -1

    def run(self, job: str, args: list[Any], cpu_s: float) -> Any:
        """The job's value; raises TooMuch."""
        try:
            message = frame(Job(job, tuple(args), cpu_s, tuple(current().secrets())))
        except ValueError:
            raise TooMuch("is more than can be judged") from None
        fresh, asked_at = True, perf_counter()
        try:
            with self._turn:
                for _ in range(2):  # the process of an earlier job may just have ended, having grown
                    fresh = self._process is None
                    answer = self._ask(message)
                    if answer is not None:
                        break
                    code = self.drop()
                    if code == -signal.SIGPROF:
                        raise _OutOfTime(f"takes more than {cpu_s:g} s to be judged")
                    if fresh:
                        break
        except DeadlinePassed as passed:
            if fresh:  # it was waiting for its turn, or for a process to be started
                passed.kept_waiting_s = perf_counter() - asked_at
            raise
        if answer is None:
            raise TooMuch("made the process end that was judging it")
        if answer.fault is not None:
            raise TooMuch(answer.fault)
        return answer.value

    def drop(self) -> int:
        """Kill the process, if there is one; returns its exit code."""
        process, self._process = self._process, None
        if process is None:
            return 0
        os.close(self._in)
        os.close(self._out)
        process.kill()
        code: int = process.wait()
        return code

    def _ask(self, message: bytes) -> JobDone | None:
        """The answer; None if the process ended instead."""
        try:
            if self._process is None:
                self._start()
            with gevent.Timeout(_WALL_S, TooMuch(f"takes more than {_WALL_S:g} s to be judged")):
                return self._exchange(message)
        except (BrokenPipeError, ConnectionResetError):
            return None
        except BaseException:  # also a deadline: the answer to this must not be taken for that to the next
            self.drop()
            raise

    def _exchange(self, message: bytes) -> JobDone | None:
        view = memoryview(message)
        while view:
            view = view[nb_write(self._in, view) :]
        frames = Frames()
        while piece := nb_read(self._out, _READ_BYTES):
            for body in frames.feed(piece):
                answer: JobDone = reader(JobDone)(body)
                return answer
        return None

    def _start(self) -> None:
        patch_subprocess()
        import subprocess

        process: Any = subprocess.Popen(  # our own interpreter and module
            [sys.executable, "-P", "-m", "checker.worker.cpu_offload_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            preexec_fn=die_with(os.getpid()),  # the worker has no thread that holds a lock
        )
        self._in, self._out = os.dup(process.stdin.fileno()), os.dup(process.stdout.fileno())
        for pipe in (process.stdin, process.stdout):
            pipe.close()
        for descriptor in (self._in, self._out):
            make_nonblocking(descriptor)
        self._process = process
