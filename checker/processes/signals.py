"""Ctrl-C and termination during a run: the first signal ends the run in order, the second at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Context manager that takes over SIGINT and SIGTERM; ``received`` is the first signal that arrived."""

    def __init__(self, on_first: Callable[[], None], on_second: Callable[[], None]) -> None:
        self.received: signal.Signals | None = None
        self._on_first, self._on_second = on_first, on_second
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():  # elsewhere Python does not allow it
            self._before = {one: signal.signal(one, self._take) for one in _SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for one, before in self._before.items():
            signal.signal(one, before)  # type: ignore[arg-type] # what signal.signal gave

    def _take(self, number: int, frame: FrameType | None) -> None:
        if self.received is None:
            self.received = signal.Signals(number)
            self._on_first()
        else:
            self._on_second()
