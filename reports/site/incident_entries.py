"""The incidents of a site as entries with a page each: one incident, or the blips of a flapping server together."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence

from markupsafe import Markup
from msgspec import Struct

from reports import blips
from reports.incidents import TOGETHER_MS
from reports.site.site_data import Happening, Subject

MOST_PAGES = 200
"""Largest number of entries with a page of their own, the newest."""
MOST_LISTED = 500
"""Largest number of entries in the list of all."""
MOST_STEPS = 200
"""Largest number of incidents told one by one on the page of an entry, the newest."""
_MOST_TOGETHER = 20
_BAR_WIDTH = 1000
_LEAST_WIDTH = 3
"""Smallest width of a span in the bar, so that it is visible."""


class IncidentEntry(Struct, frozen=True):
    """One incident of a server, or several short ones in quick succession."""

    happenings: Sequence[Happening]
    """Newest first."""

    @property
    def newest(self) -> Happening:
        """The newest incident: it has the server, and the state now."""
        return self.happenings[0]

    @property
    def started_at_ms(self) -> int:
        """When the first began."""
        return self.happenings[-1].started_at_ms

    @property
    def ended_at_ms(self) -> int | None:
        """When the last ended; None if no check has ended it."""
        return self.newest.ended_at_ms

    @property
    def last_ms(self) -> int:
        """When it ended, or up to when it is known."""
        return self.newest.started_at_ms + self.newest.lasted_ms

    @property
    def times(self) -> int:
        """Number of incidents."""
        return len(self.happenings)

    @property
    def lasted_ms(self) -> int:
        """Duration of all together."""
        return sum(one.lasted_ms for one in self.happenings)

    @property
    def longest_ms(self) -> int:
        """Duration of the longest."""
        return max(one.lasted_ms for one in self.happenings)

    @property
    def reasons(self) -> str:
        """The reasons, the most frequent first."""
        return ", ".join(
            reason for reason, _ in Counter(one.reason for one in self.happenings if one.reason).most_common()
        )

    @property
    def slug(self) -> str:
        """Name of its page: it stays the same while the entry grows."""
        return f"{self.newest.slug}-{self.started_at_ms}"

    @property
    def steps(self) -> Sequence[Happening]:
        """The incidents told one by one, in their order."""
        return self.happenings[:MOST_STEPS][::-1]

    @property
    def bar(self) -> Markup:
        """The time from the first start to the last end, with the times down filled."""
        whole_ms = max(1, self.last_ms - self.started_at_ms)
        parts = []
        for one in self.happenings:
            left = round((one.started_at_ms - self.started_at_ms) / whole_ms * _BAR_WIDTH)
            width = max(_LEAST_WIDTH, round(one.lasted_ms / whole_ms * _BAR_WIDTH))
            parts.append(f"M{min(left, _BAR_WIDTH - width)} 0h{width}v12h-{width}z")
        return Markup(
            '<svg class="strip" viewBox="0 0 {} 12" preserveAspectRatio="none" aria-hidden="true">'
            '<path class="up" d="M0 4h{}v4H0z"/><path class="low" d="{}"/></svg>'
        ).format(_BAR_WIDTH, _BAR_WIDTH, "".join(parts))


def entries_of(subjects: Sequence[Subject]) -> list[IncidentEntry]:
    """The entries of these servers, newest start first."""
    happened = [one for subject in subjects for one in subject.incidents]
    return [IncidentEntry(of) for of in blips.entries(happened, lambda one: one.server.id)]


def together(entry: IncidentEntry, by_start: Sequence[IncidentEntry]) -> list[IncidentEntry]:
    """Entries of other servers that began within two minutes of this one, and overlap it; ``by_start`` are all."""
    low = bisect_left(by_start, entry.started_at_ms - TOGETHER_MS, key=lambda one: one.started_at_ms)
    high = bisect_right(by_start, entry.started_at_ms + TOGETHER_MS, key=lambda one: one.started_at_ms)
    return [
        one
        for one in by_start[low:high]
        if one.newest.server.id != entry.newest.server.id
        and one.started_at_ms <= entry.last_ms
        and entry.started_at_ms <= one.last_ms
    ][:_MOST_TOGETHER]
