"""Workers that stay between runs, with their connections, tokens and addresses: a run that fits takes them over."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from math import inf

from msgspec import Struct

from checker.limits import Limits
from checker.messages import FromWorker, Library, Stop
from checker.metrics import WorkerReport
from checker.processes.child import Child, ChildLost
from checker.processes.started_tasks import BegunTasks
from checker.run.task_shapes import Shapes

_END_S = 5.0


class IdleWorker(Struct):
    """A worker that is done with all it was given."""

    child: Child[FromWorker]
    begun: BegunTasks
    shapes: Shapes
    limits: Limits
    libraries: frozenset[Library]
    """What it has loaded."""
    report: WorkerReport
    """Its totals when it was done."""

    def is_alive(self) -> bool:
        """True if the worker is there; what it said meanwhile is read, and of no interest."""
        try:
            while self.child.receive(0, inf):
                continue
        except ChildLost:
            return False
        return True

    def has_functions(self, libraries: Iterable[Library]) -> bool:
        """True if it has the functions among these; modules it can load."""
        return all(isinstance(one, str) or one in self.libraries for one in libraries)

    def end(self, within_s: float = 0) -> None:
        """Wait for its end, and kill it if that takes too long."""
        self.child.end(within_s)
        self.begun.close()


class IdleWorkers:
    """The idle workers of one `checker.api.Checker`; used by the threads of all drivers."""

    def __init__(self) -> None:
        self._idle: dict[int, IdleWorker] = {}
        self._lock, self._closed = threading.Lock(), False
        self._of_process = os.getpid()

    def take(self, limits: Limits, libraries: Iterable[Library]) -> IdleWorker | None:
        """The worker of this number, if it has these limits; it is then the caller's.

        With other limits, or with another version of one of the functions, it is ended.
        """
        with self._lock:
            if self._of_process != os.getpid():  # a fork has copies of the pipes, and must not speak through them
                self._idle, self._of_process = {}, os.getpid()
            found = self._idle.pop(limits.worker, None)
        fits = found is not None and found.limits == limits and found.has_functions(libraries) and found.is_alive()
        if found is not None and not fits:
            _end([found])
            return None
        return found

    def put(self, worker: IdleWorker) -> None:
        """Keep a worker; after `close` it is ended instead."""
        with self._lock:
            left_over = worker if self._closed else self._idle.pop(worker.limits.worker, None)
            if not self._closed:
                self._idle[worker.limits.worker] = worker
        if left_over is not None:
            _end([left_over])

    def close(self) -> None:
        """End all workers; sessions that they have open get a moment to close."""
        with self._lock:
            self._closed = True
            idle, self._idle = list(self._idle.values()), {}
        if self._of_process == os.getpid():
            _end(idle)


def _end(workers: list[IdleWorker]) -> None:
    """Ask all of them to end before any is waited for."""
    for one in workers:
        one.child.send(Stop(cancel=False))
        with suppress(ChildLost):
            one.child.receive(0, inf)
    for one in workers:
        one.end(_END_S)
