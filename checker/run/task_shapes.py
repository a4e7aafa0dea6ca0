"""Tasks for a worker in few bytes: servers that have the same options, but for names and addresses, send them once.

A fleet of thousands has few shapes of options. A worker that knows a shape needs name, address and remembered facts of
each further server, and need not read and check its options again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from msgspec.structs import astuple, replace

from checker.messages import AlikeTasks, Run, Task
from checker.model import Combination, Priority, Server
from checker.structs import Options
from checker.wire import packed

_FEWEST = 2
"""Servers of a shape that is worth telling."""
_Shape = tuple[Any, ...]
_USUAL = Combination()


class _KnownShape(NamedTuple):
    """The server whose shape was looked at last, to compare the next one with."""

    apart: tuple[Any, ...]
    """What of the server counts, without its options."""
    options: list[tuple[str, type[Any], tuple[Any, ...]]]
    """Kind of probe, class and values of its options, without the address."""
    shape: _Shape


class Shapes:
    """The shapes of options that one worker knows."""

    def __init__(self) -> None:
        self._numbers: dict[_Shape, int] = {}
        self._last: _KnownShape | None = None

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
        if (last := self._last) is not None and _are_alike(task, last):
            return last.shape
        shape = _packed(task)
        if shape is not None:
            options = [(kind, type(one), astuple(one)[1:]) for kind, one in task.server.probes.items()]
            is_plain = all(_is_plain(value) for _, _, values in options for value in values)
            self._last = _KnownShape(_apart(task), options, shape) if is_plain else None
        return shape


def _apart(task: Task) -> tuple[Any, ...]:
    server = task.server
    return task.share, server.weights, server.at_once, server.combine


def _are_alike(task: Task, last: _KnownShape) -> bool:
    """True if the servers differ in no more than name and address: most of their values are the same objects."""
    probes = task.server.probes
    if len(probes) != len(last.options) or _apart(task) != last.apart:
        return False
    for kind, made_of, values in last.options:
        options: Any = probes.get(kind)
        if type(options) is not made_of or astuple(options)[1:] != values:
            return False
    return True


def _is_plain(value: Any) -> bool:
    """True if only what is packed alike is equal to it: 1, 1.0 and true are not, where options may have either."""
    if isinstance(value, Options):
        return all(map(_is_plain, astuple(value)))
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if isinstance(value, tuple):
        return all(isinstance(item, str) for item in value)
    return value is None or isinstance(value, str | int | float)


def _packed(task: Task) -> _Shape | None:
    """All that servers which are alike have in common, in a form that differs where any of it does."""
    server = task.server
    shape: list[Any] = [task.share]
    for kind, options in server.probes.items():
        url = getattr(options, "url", None)
        if not isinstance(url, str) or options.__struct_fields__[0] != "url":
            return None
        # the address is packed first, so that it is the first occurrence that is taken out
        shape += kind, packed(options).replace(packed(url), b"", 1)
    if server.weights or server.at_once is not None or server.combine != _USUAL:
        shape.append(packed([server.weights, server.at_once, server.combine]))
    return tuple(shape)


def _for_worker(server: Server) -> Server:
    """The server without what only the parent needs."""
    return replace(
        server, group="", tags=(), objective=None, objective_window=None, maintenance=(), priority=Priority.NORMAL
    )
