"""The history of selected servers, opened for reports: the servers, and their buckets up to now."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
from msgspec import Struct
from msgspec.structs import replace

from checker.errors import StorageError, UsageError
from checker.stats.histogram import Integers
from storage import history, remarks
from storage.connections import DatabaseConnection, errors_of
from storage.history import Newest, OfferRow, reading
from storage.remarks import Remarked
from storage.rollups import newest_rows, read, sums
from storage.rollups.raw_rows import Checks
from storage.rollups.read import Period, Rollups
from storage.rollups.watermarks import HOUR_MS

if TYPE_CHECKING:
    from storage import checking_cost, contract_changes  # only some reports use these, and SQLAlchemy with them

_TAIL_MS = 2 * HOUR_MS
_WAIT_S = 5.0
_MOST_NAMED = 10
_SERVERS = (
    "select id, name, group_name, tags, objective_ratio, objective_window_ms, retired_at_ms from servers order by name"
)


class ServerRow(Struct, frozen=True):
    """A server with its data from its newest run."""

    id: int
    name: str
    group: str
    tags: tuple[str, ...]
    objective_ratio: float | None
    objective_window_ms: int | None = None
    """Window of the objective; None for 30 days."""
    retired_at_ms: int | None = None
    """Time at which it was found to be missing from its configuration."""


class Past(Struct, frozen=True):
    """Everything that reports can query."""

    path: Path
    now_ms: int
    servers: tuple[ServerRow, ...]
    """The selected servers, ordered by name."""
    rollups: Rollups
    """Buckets of these servers."""
    _connection: DatabaseConnection

    def of(self, servers: tuple[ServerRow, ...]) -> Past:
        """The history of only some of these servers."""
        return replace(self, servers=servers, rollups=self.rollups_of([one.id for one in servers]))

    def rollups_of(self, servers: Sequence[int]) -> Rollups:
        """The buckets of some servers."""
        return Rollups(self._connection, self.now_ms, servers)

    def outcome_sums(self, servers: Sequence[int], period: Period) -> Integers:
        """See `sums.outcome_sums`."""
        return sums.outcome_sums(self._connection, self.rollups, servers, period)

    def group_times(self, groups: Mapping[int, str], period: Period) -> dict[tuple[str, int], tuple[int, int]]:
        """See `sums.group_times`."""
        return sums.group_times(self._connection, self.rollups, groups, period)

    def newest_checks(self, servers: Sequence[int] | None, number: int) -> Checks:
        """See `newest_rows.newest_checks`."""
        return newest_rows.newest_checks(self._connection, servers, number)

    def checks_since(self, servers: Sequence[int] | None, since_ms: int, until_ms: int) -> Checks:
        """See `newest_rows.checks_since`."""
        return newest_rows.checks_since(self._connection, servers, since_ms, until_ms)

    def first_seen(self, servers: Sequence[int] | None) -> dict[int, int]:
        """See `newest_rows.first_seen`."""
        return newest_rows.first_seen(self._connection, servers)

    def last_checks(self) -> dict[int, Newest]:
        """See `history.newest_checks`."""
        return history.newest_checks(self._connection)

    def newest_offers(self, found: dict[int, Newest]) -> dict[int, OfferRow]:
        """See `history.newest_offers`."""
        return history.newest_offers(self._connection, found)

    def newest_remarks(self) -> list[Remarked]:
        """See `remarks.newest_remarks`."""
        return remarks.newest_remarks(self._connection)

    def hosts_of(self) -> dict[int, frozenset[str]]:
        """See `read.hosts_of`."""
        return read.hosts_of(self._connection)

    def details_of(self, incidents: Sequence[read.Incident]) -> dict[read.Incident, str]:
        """See `read.details_of`."""
        return read.details_of(self._connection, incidents)

    def versions_since(self, servers: Sequence[int], since_ms: int) -> list[contract_changes.Version]:
        """See `contract_changes.versions_since`."""
        from storage import contract_changes

        return contract_changes.versions_since(self._connection, servers, since_ms)

    def newest_versions(self, servers: Sequence[int]) -> dict[int, int]:
        """See `contract_changes.newest_versions`."""
        from storage import contract_changes

        return contract_changes.newest_versions(self._connection, servers)

    def versions_not_kept(self, servers: Sequence[int]) -> tuple[int, int]:
        """See `contract_changes.versions_not_kept`."""
        from storage import contract_changes

        return contract_changes.versions_not_kept(self._connection, servers)

    def newest_facts(self, servers: Sequence[int], since_ms: int) -> dict[int, contract_changes.ServerFacts]:
        """See `contract_changes.newest_facts`."""
        from storage import contract_changes

        return contract_changes.newest_facts(self._connection, servers, since_ms)

    def oldest_facts(self, servers: Sequence[int], since_ms: int) -> dict[int, contract_changes.ServerFacts]:
        """See `contract_changes.oldest_facts`."""
        from storage import contract_changes

        return contract_changes.oldest_facts(self._connection, servers, since_ms)

    def footprint_since(self, since_ms: int, slot_ms: int, most_runs: int | None = None) -> checking_cost.Footprint:
        """See `checking_cost.footprint_since`."""
        from storage import checking_cost

        return checking_cost.footprint_since(self._connection, since_ms, slot_ms, most_runs or checking_cost.MOST_RUNS)

    def probe_costs(self, servers: Sequence[int], since_ms: int) -> list[checking_cost.ProbeCost]:
        """See `checking_cost.probe_costs`."""
        from storage import checking_cost

        return checking_cost.probe_costs(self._connection, servers, since_ms)

    def schedules_since(self, since_ms: int) -> list[checking_cost.Schedule]:
        """See `checking_cost.schedules_since`."""
        from storage import checking_cost

        return checking_cost.schedules_since(self._connection, since_ms)


@contextmanager
def open_past(
    path: Path,
    now_ms: int,
    *,
    groups: Collection[str] = (),
    tags: Collection[str] = (),
    names: Collection[str] = (),
) -> Iterator[Past]:
    """The history of the servers that match the given groups, tags and names.

    A history with hours that nobody has rolled is rolled first, if it can be written. Raises StorageError where there
    is none, UsageError where no server is left.
    """
    _catch_up(path, now_ms)
    with reading(path) as connection, errors_of(path):
        everyone = [
            ServerRow(
                id=number,
                name=name,
                group=group,
                tags=tuple(orjson.loads(of_server)),
                objective_ratio=objective_ratio,
                objective_window_ms=window_ms,
                retired_at_ms=retired_at_ms,
            )
            for number, name, group, of_server, objective_ratio, window_ms, retired_at_ms in connection.exec_driver_sql(
                _SERVERS
            )
        ]
        chosen = tuple(
            one
            for one in everyone
            if (not groups or one.group in groups)
            and (not tags or set(tags) & set(one.tags))
            and (not names or one.name in names)
        )
        if not chosen:
            raise UsageError(_nobody(path, everyone, groups, tags, names))
        wanted = None if len(chosen) == len(everyone) else [one.id for one in chosen]
        yield Past(path, now_ms, chosen, Rollups(connection, now_ms, wanted), connection)


def _catch_up(path: Path, now_ms: int) -> None:
    """Roll up rows that runs have left unrolled; reports are exact without it, but read more rows."""
    with reading(path) as connection, errors_of(path):
        behind = "select server_id from rollup_state where rolled_until_ms < ? limit 1"
        if connection.exec_driver_sql(behind, (now_ms - _TAIL_MS,)).scalar() is None:
            return
    from storage.store import open_store  # most histories are rolled by the runs

    with suppress(StorageError), open_store(path, wait_s=_WAIT_S) as store:
        store.roll(now_ms)


def _nobody(
    path: Path,
    everyone: Collection[ServerRow],
    groups: Collection[str],
    tags: Collection[str],
    names: Collection[str],
) -> str:
    """The error that no server matches, with the available choices."""
    if not everyone:
        return f"{path}: no server yet; run `mcp-status check` first"
    asked = [
        f"{word} {' or '.join(map(repr, sorted(given)))}"
        for word, given in (("group", groups), ("tag", tags), ("name", names))
        if given
    ]
    there: dict[str, Collection[str]] = {
        "name": [one.name for one in everyone],
        "group": {one.group for one in everyone if one.group},
        "tag": {tag for one in everyone for tag in one.tags},
    }
    missing = [
        (word, _alike(value, there[word]))
        for word, given in (("group", groups), ("tag", tags), ("name", names))
        for value in sorted(given)
        if value not in there[word]
    ]
    told = ", ".join(f"{word}: {alike}" if len(asked) > 1 else alike for word, alike in missing)
    return f"{path}: no server with {' and '.join(asked)}; {told or 'leave out one of them'}"


def _alike(value: str, known: Collection[str]) -> str:
    """The known values that are most like this one, else the first of all."""
    from difflib import get_close_matches

    if close := get_close_matches(value, known, n=3):
        return f"did you mean {', '.join(map(repr, close))}?"
    some = sorted(known)[:_MOST_NAMED]
    more = f" and {len(known) - len(some)} more" if len(known) > len(some) else ""
    return f"there are: {', '.join(some) or 'none'}{more}"
