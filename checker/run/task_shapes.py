"""Tasks for a worker in few bytes: servers that have the same options, but for names and addresses, send them once.

A fleet of thousands has few shapes of options. A worker that knows a shape needs name, address and remembered facts of
each further server, and need not read and check its options again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from msgspec.structs import replace

from checker.messages import AlikeTasks, Run, Task
from checker.model import Combination, Priority, Server
from checker.probes.option_shapes import OptionShapes
from checker.wire import packed

_FEWEST = 2
"""Servers of a shape that is worth telling."""
_Shape = tuple[Any, ...]
_USUAL = Combination()


class Shapes:
    """The shapes of options that one worker knows."""

    def __init__(self) -> None:
        self._numbers: dict[_Shape, int] = {}
        self._of_options = OptionShapes()

    def messages(self, tasks: Iterable[Task]) -> Iterator[Run | AlikeTasks]:
        """The messages that give a worker these tasks, in their order."""
        single: list[Task] = []
        for shape, group in groupby(tasks, self._shape_of):
            alike = list(group)
            if shape is None or (len(alike) < _FEWEST and shape not in self._numbers):
                single += alike
                continue
            if single:
                yield Run(tuple(single))
                single = []
            yield self._alike(shape, alike)
        if single:
            yield Run(tuple(single))

    def _alike(self, shape: _Shape, tasks: Sequence[Task]) -> AlikeTasks:
        like = None
        if (number := self._numbers.get(shape)) is None:
            number = self._numbers[shape] = len(self._numbers)
            like = _for_worker(tasks[0].server)
        return AlikeTasks(
            shape=number,
            like=like,
            share=tasks[0].share,
            names=tuple([task.server.name for task in tasks]),
            urls=tuple([options.url for task in tasks for options in task.server.probes.values()]),
            memories=tuple([task.memory for task in tasks]),
            numbers=tuple([task.number for task in tasks]),
        )

    def _shape_of(self, task: Task) -> _Shape | None:
        """What is the same in servers that are alike; None for a task that says more than they do."""
        if task.skip or task.tries > 1:
            return None
        server = task.server
        shape: list[Any] = [task.share]
        for kind, options in server.probes.items():
            if (known := self._of_options.of(kind, options)) is None:
                return None
            shape += kind, known
        if server.weights or server.at_once is not None or server.combine != _USUAL:
            shape.append(packed([server.weights, server.at_once, server.combine]))
        return tuple(shape)


def _for_worker(server: Server) -> Server:
    """The server without what only the parent needs."""
    return replace(
        server, group="", tags=(), objective=None, objective_window=None, maintenance=(), priority=Priority.NORMAL
    )
