"""The worker's side of the pipe: frames in, batches out, and the ways a worker ends.

Standard input brings ``run`` (servers to check) and ``stop``; standard output takes ``hello``, ``beat``, ``batch`` and
``bye``. The end of standard input means that the parent is gone: there is nobody to take results any more.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
import sys
from contextlib import suppress
from typing import Any

import gevent
from gevent.lock import BoundedSemaphore
from gevent.os import make_nonblocking, nb_read, nb_write
from msgspec.structs import replace

from checker.log_lines import log_to_stderr
from checker.messages import (
    AlikeTasks,
    Beat,
    Bye,
    Drop,
    FromParent,
    Gate,
    Hello,
    LoadLibraries,
    Rest,
    Rested,
    Run,
    Start,
    Stop,
    Task,
)
from checker.model import Server
from checker.probes import with_options
from checker.probes.libraries import load
from checker.processes.started_tasks import shared_with_parent
from checker.wire import PROTOCOL, frame, messages, reader
from checker.worker.loop import Loop

PARENT_GONE = 3
"""Exit code when standard input ended without a stop."""
_BEAT_S = 1.0
_COLLECT = (20_000, 20, 20)
"""Garbage collections are rarer than Python's default: nearly all objects here are freed with their last reference."""
_GRACE_AT_END_S = 5.0
"""Time to wait for sessions that are still being opened, after all results are delivered."""
_GRACE_WHEN_STOPPED_S = 4.0
"""The same after Ctrl-C: it is over as soon as the sessions are, and a second Ctrl-C does not wait."""
_GRACE_WITHOUT_PARENT_S = 1.5
"""The same when the parent is gone: nothing is left to end a worker that lingers."""


class Pipes:
    """The two pipe ends towards the parent, kept apart from anything a library prints."""

    def __init__(self) -> None:
        self._read_fd, self._write_fd = os.dup(0), os.dup(1)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        os.dup2(2, 1)  # a stray print goes to stderr, never into the frames
        sys.stdout = sys.stderr
        make_nonblocking(self._read_fd)
        make_nonblocking(self._write_fd)
        self._writing = BoundedSemaphore(1)

    def read(self, most: int) -> bytes:
        """Bytes from the parent; empty if it is gone."""
        received: bytes = nb_read(self._read_fd, most)
        return received

    def send(self, message: Any) -> None:
        """Write one frame, letting other greenlets run while the pipe is full."""
        view = memoryview(frame(message))
        with self._writing:
            while view:
                view = view[nb_write(self._write_fd, view) :]


class AlikeServers:
    """A server of each shape of options, from which all others of its shape are made."""

    def __init__(self) -> None:
        self._of_shape: dict[int, Server] = {}

    def tasks(self, message: AlikeTasks) -> list[Task]:
        """The tasks of a message."""
        if message.like is not None:
            self._of_shape[message.shape] = with_options(message.like)
        like, urls = self._of_shape[message.shape], iter(message.urls)
        kinds = tuple(like.probes.items())
        made = []
        for name, memory, number in zip(message.names, message.memories, message.numbers, strict=True):
            probes = {kind: replace(options, url=next(urls)) for kind, options in kinds}
            server = replace(like, name=name, probes=probes)
            made.append(Task(server=server, memory=memory, share=message.share, number=number))
        return made


def serve() -> int:
    """Serve until told to stop, and return the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C belongs to the parent, which then says stop
    raise_descriptor_limit()
    pipes = Pipes()
    loop, alike = Loop(pipes.send), AlikeServers()
    beat = gevent.spawn(_beat, pipes, loop)
    gevent.signal_handler(signal.SIGTERM, _terminated, loop)
    try:
        pipes.send(Hello(os.getpid(), PROTOCOL))
        message: FromParent
        for message in messages(pipes.read, reader(FromParent)):
            if isinstance(message, Run):
                for task in message.tasks:
                    with_options(task.server)
                loop.add(message.tasks)
            elif isinstance(message, AlikeTasks):
                loop.add(alike.tasks(message))
            elif isinstance(message, Start):
                load(message.libraries)
                log_to_stderr(message.limits.log_level)
                loop.start(message.limits, shared_with_parent(message.begun))
                gc.freeze()  # what was imported stays
                gc.set_threshold(*_COLLECT)
                gc.enable()
            elif isinstance(message, LoadLibraries):
                load(message.libraries)
            elif isinstance(message, Rest):
                pipes.send(loop.report())
                pipes.send(Rested())
            elif isinstance(message, Gate):
                loop.gate(message.is_open)
            elif isinstance(message, Drop):
                loop.drop(message.detail)
            elif isinstance(message, Stop):
                loop.stop(cancel=message.cancel, within_s=message.within_s)
                loop.let_go(_GRACE_WHEN_STOPPED_S if message.cancel else _GRACE_AT_END_S)
                loop.kill_programs()
                pipes.send(loop.report())
                pipes.send(Bye())
                return 0
        _leave(loop, PARENT_GONE)
    except (BrokenPipeError, ConnectionResetError):
        _leave(loop, PARENT_GONE)
    finally:
        beat.kill(block=False)
    return PARENT_GONE


def _beat(pipes: Pipes, loop: Loop) -> None:
    """Report that the hub is turning, and the current totals; a worker that is silent for long is replaced."""
    try:
        while True:
            gevent.sleep(_BEAT_S)
            pipes.send(loop.report() if loop.started else Beat())
    except OSError:  # the parent is gone, which the end of standard input tells as well
        return


def _terminated(loop: Loop) -> None:
    """End on SIGTERM: the parent, if there is one, gives the unanswered servers to another worker."""
    _leave(loop, 128 + signal.SIGTERM)
    os._exit(128 + signal.SIGTERM)


def _leave(loop: Loop, code: int) -> None:
    """End the open sessions; even if something hangs, the process is gone when the grace time is over."""
    gevent.spawn_later(_GRACE_WITHOUT_PARENT_S, _exit, loop, code)
    loop.stop(cancel=True)
    loop.let_go(_GRACE_WITHOUT_PARENT_S)
    loop.kill_programs()


def _exit(loop: Loop, code: int) -> None:
    loop.kill_programs()
    os._exit(code)


def raise_descriptor_limit() -> None:
    """Allow more open sockets: every check needs up to two, and the usual soft limit of 1024 is below the machine's."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, 65536) if hard != resource.RLIM_INFINITY else 65536
    if soft < wanted:
        with suppress(ValueError, OSError):  # a system may allow less than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
