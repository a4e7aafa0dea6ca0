"""Short incidents in quick succession as one entry: nothing is lost, and nothing long is hidden among them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from reports.blips import FEWEST, MOST_BLIP_MS, MOST_PAUSE_MS, entries

MINUTE_MS = 60_000


@dataclass(frozen=True)
class Outage:
    """An incident of a server."""

    server: int
    started_at_ms: int
    ended_at_ms: int | None


def outage(server: int, at_min: int, minutes: int | None) -> Outage:
    end_ms = None if minutes is None else (at_min + minutes) * MINUTE_MS
    return Outage(server, at_min * MINUTE_MS, end_ms)


def grouped(*outages: Outage) -> list[list[int]]:
    """The starts of the outages of each entry, in minutes."""
    return [[one.started_at_ms // MINUTE_MS for one in entry] for entry in entries(outages, lambda one: one.server)]


def test_three_blips_in_a_row_are_one_entry_and_two_are_not() -> None:
    assert grouped(outage(1, 0, 1), outage(1, 60, 1)) == [[60], [0]]
    assert grouped(outage(1, 0, 1), outage(1, 60, 1), outage(1, 120, 1)) == [[120, 60, 0]]


def test_long_incident_open_one_pause_and_other_server_stand_alone() -> None:
    blips = [outage(1, 60 * hour, 1) for hour in range(3)]
    assert grouped(*blips, outage(1, 180, 16)) == [[180], [120, 60, 0]]
    assert grouped(*blips, outage(1, 180, None)) == [[180], [120, 60, 0]]
    assert grouped(*blips, outage(1, 121 + 6 * 60, 1)) == [[481, 120, 60, 0]]
    assert grouped(*blips, outage(1, 122 + 6 * 60, 1)) == [[482], [120, 60, 0]]
    assert grouped(*blips, outage(2, 90, 1)) == [[120, 60, 0], [90]]


@given(
    st.lists(st.tuples(st.integers(1, 3), st.integers(0, 3000), st.one_of(st.none(), st.integers(0, 40))), max_size=40)
)
def test_every_incident_is_in_one_entry_and_entries_hold_to_their_rule(
    found: list[tuple[int, int, int | None]],
) -> None:
    outages = [outage(*one) for one in set(found)]
    listed = entries(outages, lambda one: one.server)
    assert sorted(map(hash, (one for entry in listed for one in entry))) == sorted(map(hash, outages))
    assert [entry[0].started_at_ms for entry in listed] == sorted(
        (one[0].started_at_ms for one in listed), reverse=True
    )
    for entry in listed:
        if len(entry) == 1:
            continue
        assert len(entry) >= FEWEST
        assert len({one.server for one in entry}) == 1
        for newer, older in itertools.pairwise(entry):
            assert older.ended_at_ms is not None
            assert newer.ended_at_ms is not None
            assert newer.started_at_ms - older.ended_at_ms <= MOST_PAUSE_MS
            assert max(one.ended_at_ms - one.started_at_ms for one in (older, newer) if one.ended_at_ms) <= MOST_BLIP_MS
