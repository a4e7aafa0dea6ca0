"""Checks from a program: a run in a thread of its own, whose workers stay for the next one."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from signal import SIGINT
from types import TracebackType
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from checker.api.fleets import Servers, settings_of
from checker.api.past import History
from checker.api.results import Results, database_at, results_of
from checker.clock import now_ms
from checker.errors import StorageBusy, UsageError
from checker.model import Status
from checker.probes.functions import CheckFunction, register_function
from checker.processes.signals import Interrupts
from checker.run import run
from checker.run.idle_workers import IdleWorkers
from checker.secrets.known_secrets import know
from checker.settings.blocks import Settings
from checker.settings.selection import select
from checker.units import parse_duration
from storage.history import CheckRow, HistoryReader, open_history


class Progress(Struct, frozen=True, kw_only=True):
    """How far a run is."""

    done: int
    total: int
    counts: Mapping[Status, int]
    """Number of checks with each status so far."""
    waits_for: str | None
    """The limit that keeps checks from beginning, if one does."""


OnProgress = Callable[[Progress], object]


class Interrupted(KeyboardInterrupt):
    """Ctrl-C ended a run: its workers are gone, and every check that was finished is stored."""

    def __init__(self, results: Results | None) -> None:
        super().__init__()
        self.results = results
        """The finished checks; None if the run had not begun."""


class _Halt(Interrupts):
    """A caller that ends the run, in place of signals: those are the program's."""

    def __init__(self) -> None:
        super().__init__(lambda: None, lambda: None)
        self._lock, self._times = threading.Lock(), 0

    def of(self, on_first: Callable[[], None], on_second: Callable[[], None]) -> Interrupts:
        """The halt of a run that has begun."""
        with self._lock:
            self._on_first, self._on_second = on_first, on_second
            times = self._times
        for _ in range(times):
            self._tell()
        return self

    def __enter__(self) -> Interrupts:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        pass

    def ask(self) -> None:
        """End the run in order; asked a second time, at once."""
        with self._lock:
            self._times += 1
        self._tell()

    def _tell(self) -> None:
        self._take(SIGINT, None)


class _RunThread:
    """One run in its thread; what happens is put into ``events``: Progress, checks, and None at the end."""

    def __init__(self, request: run.RunRequest, settings: Settings, tells_checks: bool) -> None:
        self.events: SimpleQueue[Any] = SimpleQueue()
        self.run_id: int | None = None
        self.failure: BaseException | None = None
        self._halt, self._settings = _Halt(), settings
        self._reading: Any = None
        self._history: HistoryReader | None = None
        stored = self._stored if tells_checks else self._begun
        self._request = replace(request, interrupts=self._halt.of, stored=stored)
        self._seen: set[str] = set()
        self._tells_checks = tells_checks
        self._thread = threading.Thread(target=self._run, name="mcp-status run", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Give up checks in progress, and wait for the end; interrupted while waiting, end at once."""
        self._halt.ask()
        try:
            self._thread.join()
        except BaseException:
            self._halt.ask()
            self._thread.join()
            raise

    def join(self) -> None:
        """Wait for the end."""
        self._thread.join()

    def _run(self) -> None:
        try:
            end = run.check(self._request, self._progress)
            self.run_id = end.run_id
            if self._tells_checks:
                self._tell_others()
            self._tidy()
        except BaseException as error:  # it is raised where the results are waited for
            self.failure = error
        finally:
            if self._reading is not None:
                self._reading.__exit__(None, None, None)
            self.events.put(None)

    def _progress(self, done: int, total: int, counts: Mapping[Status, int], waits_for: str | None) -> None:
        self.events.put(Progress(done=done, total=total, counts=dict(counts), waits_for=waits_for))

    def _begun(self, run_id: int, servers: Sequence[str]) -> None:
        self.run_id = run_id

    def _stored(self, run_id: int, servers: Sequence[str]) -> None:
        self.run_id = run_id
        for one in self._opened().checks_stored(run_id, servers):
            self._tell(one)

    def _opened(self) -> HistoryReader:
        """The history as it is read in this thread."""
        if self._history is None:
            self._reading = open_history(self._request.database)
            self._history = self._reading.__enter__()
        return self._history

    def _tell_others(self) -> None:
        """The checks that no batch had: results of earlier runs, and servers that got no answer."""
        assert self.run_id is not None  # noqa: S101 # the run has ended
        if len(self._seen) < len(self._request.servers):
            for one in self._opened().checks_of_run(self.run_id):
                if one.server not in self._seen:
                    self._tell(one)

    def _tell(self, check: CheckRow) -> None:
        self._seen.add(check.server)
        self.events.put(check)

    def _tidy(self) -> None:
        """Close past hours, as `mcp-status check` does."""
        with suppress(StorageBusy):  # or the next run sees to it
            with open_history(self._request.database) as history:
                is_behind = history.is_behind(now_ms())
            if is_behind:
                run.tidy(self._request.database, self._settings.history, lambda _done, _total: None)


class CheckStream:
    """The checks of a run, each as soon as it is stored; closed early, it ends the run in order.

    Iterate over it. It closes itself where it is no longer used; a ``with`` block says where that is.
    """

    def __init__(self, thread: _RunThread, database: Path, warnings: tuple[str, ...], tell: OnProgress | None) -> None:
        self._thread, self._database, self._warnings, self._tell = thread, database, warnings, tell
        self._over = False

    def __iter__(self) -> Iterator[CheckRow]:
        return self

    def __next__(self) -> CheckRow:
        if self._over:
            raise StopIteration
        try:
            while (event := self._thread.events.get()) is not None:
                if isinstance(event, CheckRow):
                    return event
                if self._tell is not None:
                    self._tell(event)
        except KeyboardInterrupt:
            self.close()
            raise Interrupted(self._results()) from None
        except BaseException:
            self.close()
            raise
        self._over = True
        self._thread.join()
        if self._thread.failure is not None:
            raise self._thread.failure
        raise StopIteration

    def results(self) -> Results:
        """The results of the whole run, which is waited for; of a closed one, of the checks that it had finished."""
        for _ in self:
            pass
        if (found := self._results()) is None:
            raise UsageError("the stream was closed before its run began")
        return found

    def close(self) -> None:
        """End the run: checks in progress are given up, finished ones are stored."""
        if not self._over:
            self._over = True
            self._thread.stop()

    def __enter__(self) -> CheckStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        with suppress(AttributeError):  # of one that was never made whole
            self.close()

    def _results(self) -> Results | None:
        number = self._thread.run_id
        return None if number is None else results_of(self._database, number, self._warnings)


class Checker:
    """Checks fleets of servers; worker processes stay between calls, with their connections, tokens and addresses.

    Use it as a context manager, or call `close`. Any number of threads may use one at the same time.
    """

    def __init__(
        self,
        database: str | Path | None = None,
        *,
        max_concurrent: int | None = None,
        workers: int | None = None,
        log_level: int = logging.CRITICAL,
    ) -> None:
        """``database`` is the SQLite file with the history; without one, nothing is kept after `close`.

        ``max_concurrent`` is the largest number of concurrent checks over all workers, by default that of the
        configuration, or 500. ``workers`` are processes, by default one for each core, and fewer for a small fleet.
        ``log_level`` is for what workers log to standard error.
        """
        for name, value in (("max_concurrent", max_concurrent), ("workers", workers)):
            if value is not None and value < 1:
                raise UsageError(f"{name}={value}; give 1 or more")
        folder = None if database is not None else tempfile.mkdtemp(prefix="mcp-status-")
        self.database = Path(folder) / "history.db" if folder is not None else database_at(database or "")
        """The file with the history."""
        self._max_concurrent, self._workers, self._log_level = max_concurrent, workers, log_level
        self._idle, self._most_workers = IdleWorkers(), 0
        self._streams: weakref.WeakSet[CheckStream] = weakref.WeakSet()
        self._finalizer = weakref.finalize(self, _close, self._idle, self._streams, folder, os.getpid())

    def check(
        self,
        servers: Servers,
        *,
        environment: str | None = None,
        tags: Sequence[str] = (),
        groups: Sequence[str] = (),
        names: Sequence[str] = (),
        max_concurrent: int | None = None,
        max_age: float | str | None = None,
        progress: OnProgress | None = None,
        probe: CheckFunction | None = None,
    ) -> Results:
        """Check every server once, and return all results.

        ``servers`` is the path of a configuration file, a mapping with the same keys, or a list of servers: addresses,
        mappings as in a configuration, or `server` objects. ``tags``, ``groups`` and ``names`` select some of them.
        With ``max_age`` (seconds, or text like "5m") a server whose last result is younger is not checked again.
        ``progress`` is called about ten times a second. ``probe`` is a check function of your own for addresses, and
        for mappings that name no other kind; `probe` registers one under a name.

        Raises ConfigError, UsageError, StorageError or WorkerStartError, which are all CheckerError; on Ctrl-C
        Interrupted, with the results so far. A server that fails is a result, never an exception.
        """
        given = (environment, tags, groups, names, max_concurrent, max_age, progress, probe)
        return self._begin(servers, *given, tells_checks=False).results()

    def stream(
        self,
        servers: Servers,
        *,
        environment: str | None = None,
        tags: Sequence[str] = (),
        groups: Sequence[str] = (),
        names: Sequence[str] = (),
        max_concurrent: int | None = None,
        max_age: float | str | None = None,
        progress: OnProgress | None = None,
        probe: CheckFunction | None = None,
    ) -> CheckStream:
        """Check every server once, and give each result as soon as it is stored; arguments and errors as of `check`.

        The run begins at once. Leaving the loop early ends it: checks in progress are given up.
        """
        given = (environment, tags, groups, names, max_concurrent, max_age, progress, probe)
        return self._begin(servers, *given, tells_checks=True)

    @property
    def history(self) -> History:
        """What earlier calls have stored."""
        return History(self.database)

    def close(self) -> None:
        """End the runs in progress and the workers; without a database of its own, the history is gone as well."""
        self._finalizer()

    def __enter__(self) -> Checker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin(
        self,
        servers: Servers,
        environment: str | None,
        tags: Sequence[str],
        groups: Sequence[str],
        names: Sequence[str],
        max_concurrent: int | None,
        max_age: float | str | None,
        progress: OnProgress | None,
        probe: CheckFunction | None,
        *,
        tells_checks: bool,
    ) -> CheckStream:
        if not self._finalizer.alive:
            raise UsageError("this Checker is closed; make another one")
        kind = None if probe is None else register_function(probe).name
        settings = settings_of(servers, environment, kind)
        know([*(options for one in settings.servers for options in one.probes.values()), settings.run.token_key or ""])
        chosen = select(settings.servers, tags=tags, groups=groups, names=names)
        request = run.RunRequest(
            servers=chosen,
            database=self.database,
            options=self._options(settings, len(chosen), max_concurrent, max_age),
            keep=settings.history,
            config_path=settings.path,
            environment=settings.environment,
            configured=[one.name for one in settings.servers] if settings.path is not None else (),
            log_level=self._log_level,
            idle=self._idle,
        )
        thread = _RunThread(request, settings, tells_checks)
        stream = CheckStream(thread, self.database, settings.warnings, progress)
        self._streams.add(stream)
        return stream

    def _options(
        self, settings: Settings, servers: int, max_concurrent: int | None, max_age: float | str | None
    ) -> Any:
        wanted = max_concurrent or self._max_concurrent
        if max_concurrent is not None and max_concurrent < 1:
            raise UsageError(f"max_concurrent={max_concurrent}; give 1 or more")
        options = settings.run if wanted is None else replace(settings.run, concurrency=wanted)
        if max_age is not None:
            try:
                options = replace(options, max_age=parse_duration(max_age))
            except ValueError as error:
                raise UsageError(f"max_age={max_age!r}: {error}") from None
        # as many as ever before: a worker stays only for a run with the same number of them
        needed = self._workers or options.workers or run.usual_workers(servers)
        self._most_workers = max(self._most_workers, needed)
        return replace(options, workers=self._workers or options.workers or self._most_workers)


def check(
    servers: Servers,
    *,
    database: str | Path | None = None,
    environment: str | None = None,
    tags: Sequence[str] = (),
    groups: Sequence[str] = (),
    names: Sequence[str] = (),
    max_concurrent: int | None = None,
    max_age: float | str | None = None,
    progress: OnProgress | None = None,
    probe: CheckFunction | None = None,
) -> Results:
    """Check every server once, with workers that end with the call; arguments and errors as of `Checker.check`.

    ``database`` is the SQLite file in which the results are kept; without one they are not.
    """
    with Checker(database) as checker:
        return checker.check(
            servers,
            environment=environment,
            tags=tags,
            groups=groups,
            names=names,
            max_concurrent=max_concurrent,
            max_age=max_age,
            progress=progress,
            probe=probe,
        )


def _close(idle: IdleWorkers, streams: Iterable[CheckStream], folder: str | None, of_process: int) -> None:
    is_fork = os.getpid() != of_process
    for one in () if is_fork else list(streams):  # their threads are not in a copy that a fork has made
        one.close()
    idle.close()
    if folder is not None and not is_fork:
        shutil.rmtree(folder, ignore_errors=True)
