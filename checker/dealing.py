"""Where the runners of all workers take their shards from: in order, by home, and only while the gate is open."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable

from checker.model import Server
from checker.probes.libraries import libraries
from checker.sharding import Shard


class Shards:
    """The bounded queue of what is still to be dealt; used by the threads of all runners and by the governor."""

    def __init__(self, shards: Iterable[Shard], runners: int = 1) -> None:
        self._waiting = deque(shards)
        self._fair = -(-sum(len(shard.servers) for shard in self._waiting) // runners)
        self._homes: dict[int, int] = {}
        self._lock = threading.Lock()
        self._closed, self._aborted = threading.Event(), threading.Event()
        self._gate = threading.Event()
        self._gate.set()
        self.libraries = libraries(server for shard in self._waiting for server in shard.servers)
        """What every worker is to load before it begins a check (`checker.probes.libraries`)."""
        self.given_up: str | None = None
        """Why workers are to give up what they have not begun; None while they are not."""

    def take(self, held: int, runner: int = 0) -> Shard | None:
        """The next shard for a runner that holds so many servers already.

        None when there is none, when dealing has stopped, while the gate is closed, and for a runner that holds its
        fair share: the others may still be starting. Shards of one home go to the runner that had the first of them.
        """
        if self._closed.is_set() or not self._gate.is_set() or held >= self._fair:
            return None
        with self._lock:
            for place, shard in enumerate(self._waiting):
                if shard.home is None or self._homes.setdefault(shard.home, runner) == runner:
                    del self._waiting[place]
                    return shard
        return None

    def leave(self, runner: int) -> None:
        """Let the others have what was kept for a runner that takes no more."""
        with self._lock:
            self._homes = {home: keeper for home, keeper in self._homes.items() if keeper != runner}

    @property
    def waiting(self) -> int:
        """Servers that are still to be dealt."""
        with self._lock:
            return sum(len(shard.servers) for shard in self._waiting)

    @property
    def gate_open(self) -> bool:
        """Whether checks may be begun."""
        return self._gate.is_set()

    def open_gate(self, open_: bool) -> None:
        """Let checks be begun, or let them wait."""
        if open_:
            self._gate.set()
        else:
            self._gate.clear()

    @property
    def held_back(self) -> bool:
        """Whether there is something to deal that only the gate holds back: no runner may go home."""
        return not self._gate.is_set() and not self._closed.is_set() and bool(self._waiting)

    def drop(self, keep: int) -> list[Server]:
        """Take out what waits above that number, from the end of the order: the lowest priority."""
        dropped: list[Server] = []
        with self._lock:
            left = sum(len(shard.servers) for shard in self._waiting)
            while left > keep:
                shard = self._waiting.pop()
                stay = max(0, len(shard.servers) - (left - keep))
                dropped += shard.servers[stay:]
                left -= len(shard.servers) - stay
                if stay:
                    self._waiting.append(Shard(shard.servers[:stay], shard.home, shard.share))
        return dropped

    def stop(self) -> None:
        """Deal no more; what is under way is given up."""
        self._closed.set()

    def abort(self) -> None:
        """Deal no more, and do not wait for workers to end what they have open."""
        self._closed.set()
        self._aborted.set()

    @property
    def stopped(self) -> bool:
        """Whether dealing has stopped before its end."""
        return self._closed.is_set()

    @property
    def aborted(self) -> bool:
        """Whether workers are to be killed."""
        return self._aborted.is_set()
