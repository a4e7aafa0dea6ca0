"""The tasks that a worker has begun, in memory shared with its parent: the record survives any end of the worker.

A message would be lost with a worker that had no time to send it; a byte that is set before a check begins is not.
"""

from __future__ import annotations

import mmap
import os
from contextlib import suppress

MOST = 1 << 20
"""Tasks of one worker before their numbers begin anew; far more than a worker ever holds unanswered."""


class BegunTasks:
    """The parent's side: one byte for each task number; memory pages are allocated only when used."""

    def __init__(self) -> None:
        if hasattr(os, "memfd_create"):
            self.descriptor = os.memfd_create("begun", os.MFD_CLOEXEC)
        else:
            import tempfile  # not before: Linux needs none

            with tempfile.TemporaryFile() as file:
                self.descriptor = os.dup(file.fileno())
        os.ftruncate(self.descriptor, MOST)
        self._begun = mmap.mmap(self.descriptor, MOST)
        self._next = 0

    def number(self) -> int:
        """A number for a task that is about to be assigned; it counts as not begun."""
        number, self._next = self._next, (self._next + 1) % MOST
        if self._begun[number]:
            self._begun[number] = 0
        return number

    def has_begun(self, number: int) -> bool:
        """True if the worker has begun the task with that number."""
        return bool(self._begun[number])

    def close(self) -> None:
        """Release the memory."""
        self._begun.close()
        with suppress(OSError):
            os.close(self.descriptor)


def shared_with_parent(descriptor: int) -> mmap.mmap:
    """The worker's side: it sets the byte of a task's number to 1 just before it begins the task."""
    begun = mmap.mmap(descriptor, MOST)
    os.close(descriptor)
    return begun
