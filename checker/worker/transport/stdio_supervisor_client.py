"""The worker's side of `checker.processes.stdio_supervisor`: programs started through it, each with its own socket."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gevent
import gevent.event
import gevent.socket
from gevent.lock import BoundedSemaphore

from checker.processes.orphans import children_of, kill, kill_descendants
from checker.processes.stdio_supervisor import HEAD, KILL, TERMINATE
from checker.worker.programs_patched import patch_subprocess

if TYPE_CHECKING:
    import subprocess

patch_subprocess()  # as this is loaded: later would be in the time of somebody's check

_LOOK_S = 0.5
"""Time after which a keeper or a supervisor that a program has stopped is made to continue."""
_GONE_S = 3.0
"""Time allowed for a supervisor to kill everything, before it is done without it."""


class StartFailed(Exception):
    """The program could not be started; the text is the system's."""


class _KeeperLost(StartFailed):
    """No report about the program arrived: the process that was to start it has ended."""


class Keeper:
    """The keeper of this worker: started with its first program, and again if a program has ended it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._requests: Any = None
        self._keepers: set[int] = set()
        self._asking = BoundedSemaphore(1)
        self._live: set[Supervised] = set()

    def start(
        self, arguments: Sequence[str], cwd: str | None, env: Mapping[str, str], streams: Sequence[int]
    ) -> Supervised:
        """Start a program with these standard streams; raises StartFailed."""
        body = json.dumps({"arguments": list(arguments), "cwd": cwd, "env": dict(env)}).encode()
        try:
            return self._start(body, streams)
        except _KeeperLost:  # the program of another server has ended it meanwhile
            return self._start(body, streams)

    def _start(self, body: bytes, streams: Sequence[int]) -> Supervised:
        with self._asking:
            try:
                control = self._ask(body, streams)
            except OSError:  # it has ended since the last time
                control = self._ask(body, streams)
        supervised = Supervised(control, self)
        self._live.add(supervised)
        try:
            supervised.wait_for_start()
        except BaseException:
            supervised.end()
            raise
        return supervised

    def wake(self) -> None:
        """Let it continue if a program has stopped it (SIGSTOP): others wait for their start."""
        if self._process is not None:
            kill(self._process.pid, signal.SIGCONT)

    def forget(self, supervised: Supervised) -> None:
        """Note that a program's tree is gone; kills processes adopted by this worker because the keeper is gone."""
        self._live.discard(supervised)
        if self._process is not None and self._process.poll() is not None:
            self._kill_strays()

    def end(self, within_s: float = 1.0) -> None:
        """Have everything killed, and wait a little for it: the worker is about to end."""
        live = list(self._live)
        for supervised in live:
            supervised.say(KILL)
        with gevent.Timeout(within_s, False):  # type: ignore[arg-type] # False means: end the block, raise nothing
            for supervised in live:
                supervised.gone.wait()
        self.wake()
        self._end()
        self._kill_strays()

    def _ask(self, body: bytes, streams: Sequence[int]) -> Any:
        if self._process is None:
            self._begin()
        ours, theirs = gevent.socket.socketpair()
        try:
            socket.send_fds(self._requests, [HEAD.pack(len(body))], [*streams, theirs.fileno()])
            self._requests.sendall(body)
        except BaseException:  # what was sent of the request is of no use, and would spoil the next
            ours.close()
            self._end()
            raise
        finally:
            theirs.close()
        return ours

    def _begin(self) -> None:
        import subprocess

        package_parent = str(Path(__file__).resolve().parents[3])
        ours, theirs = gevent.socket.socketpair()
        self._process = subprocess.Popen(  # our own interpreter and module
            [
                sys.executable,
                "-S",
                "-P",
                "-m",
                "checker.processes.stdio_supervisor",
            ],  # without site-packages it starts and forks faster
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
            cwd=package_parent,
            env={"PYTHONPATH": package_parent},
            start_new_session=True,  # what kills the worker's session lets it see to the programs
        )
        theirs.close()
        self._keepers.add(self._process.pid)
        self._requests = ours

    def _end(self) -> None:
        if self._requests is not None:
            self._requests.close()
        self._process = self._requests = None

    def _kill_strays(self) -> None:
        """Kill children that belong to no supervisor: they were adopted, and are in sessions of others."""
        own = os.getsid(0)
        spare = self._keepers | {supervised.supervisor for supervised in self._live}
        for child in children_of(os.getpid()):
            if child not in spare:
                with suppress(OSError):
                    if os.getsid(child) != own:
                        kill_descendants(child)
                        kill(child)


class Supervised:
    """A program under its supervisor."""

    def __init__(self, control: Any, keeper: Keeper) -> None:
        self._control, self._keeper = control, keeper
        self._told = gevent.event.Event()
        self._error: str | None = None
        self.pid = 0
        self.supervisor = 0
        self.code: int | None = None
        """The program's exit code; None while it runs, and for one that ended its supervisor."""
        self.ended = gevent.event.Event()
        """The program has ended."""
        self.gone = gevent.event.Event()
        """Everything that it had started has ended too."""
        self._reader = gevent.spawn(self._read)

    def wait_for_start(self) -> None:
        """Return when the program runs; raises StartFailed."""
        while not self._told.wait(_LOOK_S):
            self._keeper.wake()
        if not self.pid:
            if self._error is None:
                raise _KeeperLost("the process that was to watch over it has ended")
            raise StartFailed(self._error)

    def say(self, what: bytes) -> None:
        """Send the supervisor a command."""
        with suppress(OSError):  # it is gone
            self._control.sendall(what)

    def terminate(self) -> None:
        """Send SIGTERM to the program and its process group."""
        self.say(TERMINATE)

    def end(self) -> None:
        """Kill the program and everything that it has started, and return when it is gone."""
        self.say(KILL)
        try:
            until = time.monotonic() + _GONE_S
            while not self.gone.wait(_LOOK_S) and time.monotonic() < until:
                self._keeper.wake()
                self._wake()
            if not self.gone.is_set() and self.supervisor:  # whatever its own program does to it
                for _ in range(3):
                    kill_descendants(self.supervisor)
                kill(self.supervisor)
                self.gone.wait(_GONE_S)
        finally:
            self._keeper.forget(self)
            self._reader.kill()
            self._control.close()

    def _wake(self) -> None:
        if self.supervisor:
            kill(self.supervisor, signal.SIGCONT)

    def _read(self) -> None:
        pending = b""
        try:
            while piece := self._control.recv(4096):
                *lines, pending = (pending + piece).split(b"\n")
                for line in lines:
                    self._take(json.loads(line))
        except OSError:
            pass
        finally:
            self._told.set()
            self.ended.set()
            self.gone.set()

    def _take(self, said: dict[str, Any]) -> None:
        if "code" in said:
            self.code = said["code"]
            self.ended.set()
        else:
            self._error = said.get("error")
            self.pid, self.supervisor = said.get("pid", 0), said.get("supervisor", 0)
            self._told.set()
