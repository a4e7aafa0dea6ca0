"""Work that runs in its own greenlet while others wait for something else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent


class Later:
    """Background work; its exceptions are raised to the greenlet that waits for it, not printed."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work = work
        self.greenlet = gevent.spawn(self._run)

    def _run(self) -> tuple[Any, Exception | None]:
        try:
            return self._work(), None
        except Exception as error:
            return None, error

    def wait(self) -> Any:
        """The return value of the work; raises its exception."""
        value, error = self.greenlet.get()
        if error is not None:
            raise error
        return value
