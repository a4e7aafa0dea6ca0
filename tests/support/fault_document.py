"""The fault table as a document: what is told of each hostile server, and how soon."""

from __future__ import annotations

from hostile.kinds import DEADLINE_S, KINDS, LATE_S, START_S, Hostile

_HEAD = f"""<!-- scripts/fault_table --save writes this file -->
# What is told of hostile servers

Each row is a scripted server of [tests/hostile](../tests/hostile/kinds.py) that does harm in one way, over each of the
ways it is asked. `scripts/fault_table` checks all of them together with 500 healthy servers (REST and MCP) in one
worker process and fails unless

- each is told with one of its reasons within its bound: the deadline of {DEADLINE_S:g} s and {LATE_S:g} s, and for a
  program {START_S:g} s more, in which its interpreter starts;
- all 500 healthy servers are HEALTHY, and no result is suspect;
- the worker's loop is less than 100 ms late in 99 of 100 moments and never 500 ms, and its memory stays below 250 MB;
- the credential that was sent to them is neither in what is printed nor in the database;
- no address was called that only a server had named.

Where more reasons than one are true of a fault, which one is told depends on which limit is met first.
`healthy` stands where a client would notice nothing, and the checker is only to bear it. Statuses follow from reasons
([statuses.md](statuses.md)).

| fault | asked over | reason told | within |
| --- | --- | --- | --- |
"""


def document() -> str:
    """The whole file."""
    rows: dict[tuple[str, str, float], list[Hostile]] = {}
    for one in KINDS.values():
        rows.setdefault((one.fault, _reasons(one), one.bound_s), []).append(one)
    lines = [
        f"| {fault} | {', '.join(one.way for one in ones)} | {reasons} | {bound_s:g} s |"
        for (fault, reasons, bound_s), ones in rows.items()
    ]
    return _HEAD + "\n".join(lines) + "\n"


def _reasons(one: Hostile) -> str:
    return ", ".join(f"`{reason}`" for reason in sorted(one.reasons))
