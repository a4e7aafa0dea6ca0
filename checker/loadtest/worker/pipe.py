"""The worker's side of the pipe: plays come in; samples, health, and the end of every play go out."""

from __future__ import annotations

import gc
import os
import signal
from time import monotonic

import gevent
import gevent.event

from checker.loadtest.messages import Begin, FromParent, PlayDone, PlayRequest, Ready, Replan
from checker.loadtest.worker.health import HealthMeter
from checker.loadtest.worker.stage import StageRunner
from checker.loadtest.worker.target import Notes
from checker.log_lines import log_to_stderr
from checker.messages import Bye, Hello
from checker.probes import with_options
from checker.probes.libraries import load
from checker.secrets.known_secrets import know
from checker.wire import PROTOCOL, messages, reader
from checker.worker.pipe import PARENT_GONE, Pipes, raise_descriptor_limit

_LOOK_S = 0.02
_TELL_S, _TELL_NUMBERS = 0.4, 20_000
"""Samples are sent after this time, or once there are this many numbers: each wake-up of the parent delays somebody."""
_HEALTH_S = 1.0
_COLLECT = (100_000, 50, 100)


def serve() -> int:
    """Serve until the parent's last message; returns the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C belongs to the parent, which then says how to go on
    raise_descriptor_limit()
    pipes, notes = Pipes(), Notes()
    work: _Work | None = None
    try:
        pipes.send(Hello(os.getpid(), PROTOCOL))
        message: FromParent
        for message in messages(pipes.read, reader(FromParent)):
            if isinstance(message, Begin):
                work = _Work(pipes, notes, message)
                pipes.send(Ready())
            elif work is None or isinstance(message, Bye):
                break
            elif isinstance(message, PlayRequest):
                work.play(message)
            elif isinstance(message, Replan):
                work.stage.replan(message.spans)
        else:
            return _gone(work)
    except (BrokenPipeError, ConnectionResetError):
        return _gone(work)
    if work is not None:
        work.end()
        pipes.send(Bye())
    return 0


class _Work:
    """The state of a worker that knows its position."""

    def __init__(self, pipes: Pipes, notes: Notes, told: Begin) -> None:
        log_to_stderr(told.position.log_level)
        load(told.libraries)
        servers = {server.name: with_options(server) for server in told.servers}
        know(options for server in servers.values() for options in server.probes.values())
        self.stage = StageRunner(told.position, servers, told.addresses, notes)
        self._number: int | None = None
        gc.collect()
        gc.freeze()  # what was imported stays
        gc.set_threshold(*_COLLECT)
        gc.enable()
        self._pipes, self._notes, self._health = pipes, notes, HealthMeter(notes)
        self._greenlets = [gevent.spawn(self._tell), gevent.spawn(self._tell_health)]

    def play(self, play: PlayRequest) -> None:
        """Begin a play."""
        self.stage.play(play.parts, play.spans, play.epoch_ns)
        self._number = (
            play.number
        )  # not before: while a host's name is resolved nothing is there yet, as if all were over

    def end(self) -> None:
        """Close everything."""
        for greenlet in self._greenlets:
            greenlet.kill()
        self.stage.clear()
        self.stage.kill_programs()
        self._send_updates()

    def _tell(self) -> None:
        """Send new samples, and the end of a play once it is over."""
        try:
            told_at = monotonic()
            while True:
                gevent.sleep(_LOOK_S)
                over = (number := self._number) is not None and self.stage.look()
                if over or len(self._notes.samples) >= _TELL_NUMBERS or monotonic() - told_at >= _TELL_S:
                    told_at = monotonic()
                    self._send_updates()
                if over and number is not None:
                    self.stage.clear()
                    self._send_updates()
                    self._pipes.send(PlayDone(number))
                    self._number = None
        except OSError:  # the parent is gone, which the end of standard input tells as well
            return

    def _tell_health(self) -> None:
        try:
            while True:
                gevent.sleep(_HEALTH_S)
                self._pipes.send(self._health.second(*self.stage.crowd()))
        except OSError:
            return

    def _send_updates(self) -> None:
        if (updates := self._notes.taken()) is not None:
            self._pipes.send(updates)


def _gone(work: _Work | None) -> int:
    """Close everything when the parent is gone: leave no program running."""
    if work is not None:
        work.stage.kill_programs()
    return PARENT_GONE
