"""Whether the servers of a run are as they are stored, by one comparison for all of them.

Most runs check the servers of the run before. A digest over all of them takes a twentieth of comparing each.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from typing import NamedTuple

from checker.model import Server
from checker.version import VERSION
from checker.wire import packed
from storage.connections import DatabaseConnection

_AT_ONCE = 1000
_OF_RESULTS = "{}.category = 'results'"
TRIGGERS = {
    f"known_fleets_{name}": f"CREATE TRIGGER known_fleets_{name} after {event} begin delete from known_fleets; end"  # noqa: S608 # our words
    for name, event in (
        ("server_update", "update on servers"),
        ("server_delete", "delete on servers"),
        ("result_update", f"update of value on cache_entries when {_OF_RESULTS.format('new')}"),
        ("result_delete", f"delete on cache_entries when {_OF_RESULTS.format('old')}"),
    )
}
"""Name -> SQL."""
_LOOK = "select servers_digest, ttl_ms from known_fleets where config_path = ? and environment = ?"
_KEEP = """insert into known_fleets (config_path, environment, servers_digest, ttl_ms) values (?, ?, ?, ?)
    on conflict do update set servers_digest = excluded.servers_digest, ttl_ms = excluded.ttl_ms"""


class Fleet(NamedTuple):
    """The servers that a run checks, and the configuration that they are from."""

    config_path: str
    environment: str
    digest: str | None
    """None for servers that are not valid text, such as for a variable that is not UTF-8: they are never known."""

    def is_stored(self, connection: DatabaseConnection) -> bool:
        """True if the table of servers has what a run of them would store."""
        return self.digest is not None and self._found(connection)[0] == self.digest

    def has_result_keys(self, connection: DatabaseConnection, ttl_ms: int) -> bool:
        """True if the results cache knows with which options they are checked, and for how long results are valid."""
        return self.digest is not None and self._found(connection) == (self.digest, ttl_ms)

    def keep(self, connection: DatabaseConnection, ttl_ms: int | None = None) -> None:
        """Note that they are stored now, and with ``ttl_ms`` that the results cache knows them."""
        if self.digest is not None:
            connection.exec_driver_sql(_KEEP, (self.config_path, self.environment, self.digest, ttl_ms))

    def _found(self, connection: DatabaseConnection) -> tuple[str | None, int | None]:
        row = connection.exec_driver_sql(_LOOK, (self.config_path, self.environment)).first()
        return (None, None) if row is None else (row[0], row[1])


def fleet(
    config_path: str | None, environment: str | None, checked: Sequence[Server], configured: Collection[str]
) -> Fleet:
    """The fleet of a run; without a configuration it is one of those that have none."""
    known = hashlib.sha256(VERSION.encode())
    try:
        for low in range(0, len(checked), _AT_ONCE):
            known.update(packed(checked[low : low + _AT_ONCE]))
        known.update(packed(list(configured)))
    except (TypeError, UnicodeEncodeError):
        return Fleet(config_path or "", environment or "", None)
    return Fleet(config_path or "", environment or "", known.hexdigest())
