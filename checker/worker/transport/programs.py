"""The programs of stdio servers that a worker has started; what starts them is loaded with the first one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from checker.probes.base import Budget, Command
    from checker.worker.transport.stdio_programs import ProgramStarter, StartedProcess


class Processes:
    """The programs that a worker has started, tracked so that none survives it."""

    def __init__(self) -> None:
        self._starter: ProgramStarter | None = None

    def start(self, command: Command, max_line: int, budget: Budget) -> StartedProcess:
        """Start a program; raises ProbeFailure if it cannot be started."""
        if self._starter is None:
            from checker.worker.transport.stdio_programs import ProgramStarter  # takes long, and few fleets have any

            self._starter = self._starter or ProgramStarter()
        return self._starter.start(command, max_line, budget)

    def kill_all(self) -> None:
        """Kill every program and its descendants: the worker is about to end."""
        if self._starter is not None:
            self._starter.kill_all()
