"""The contract report: changes in the contracts of MCP servers, and the distribution of versions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from checker.contract.severity import Grade
from reports.report_model import Column, KeyNumber, Kind, Level, Report, Section, Table
from storage.contract_changes import ServerFacts, Version
from storage.report_history import Past
from storage.rollups.read import Period


class Share(Struct, frozen=True):
    """A version of something and the servers that run it."""

    of: str
    version: str
    servers: tuple[str, ...]
    ratio: float
    """Relative to the servers that run any version of it."""
    behind: bool
    """True if older than the version that more than half of them run."""


def spread(running: Mapping[str, tuple[str, str]]) -> list[Share]:
    """Versions in use, from server -> (thing, version); things in order, the most frequent version of each first."""
    found = []
    for thing in sorted({of for of, _ in running.values()}):
        versions = {server: version for server, (of, version) in running.items() if of == thing}
        counts = Counter(versions.values())
        usual = next((version for version, number in counts.items() if 2 * number > len(versions)), None)
        for version, number in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
            found.append(
                Share(
                    of=thing,
                    version=version,
                    servers=tuple(sorted(server for server, its in versions.items() if its == version)),
                    ratio=number / len(versions),
                    behind=usual is not None and order(version) < order(usual),
                )
            )
    return found


def lagging(shares: Iterable[Share]) -> list[str]:
    """Servers that run a lagging version of any of these."""
    return sorted({server for one in shares if one.behind for server in one.servers})


def order(version: str) -> tuple[tuple[int, ...], bool]:
    """Sort key of versions by age: their numbers; pre-releases (1.2.0-rc1) before the release."""
    release, mark, _ = re.sub(r"^v", "", version).partition("-")
    if re.fullmatch(r"\d{4}", release):  # a date, as the versions of the protocol are
        return tuple(map(int, re.findall(r"\d+", version))), True
    return tuple(map(int, re.findall(r"\d+", release))), not mark


MOST_NAMED = 20
"""Largest number of servers named per version."""
MOST_CHANGES = 50
"""Largest number of rows with changes of one server; those of its newest versions are shown, worst first."""
_NAMED = 3
_LEVELS = {Grade.BREAKING: Level.BAD, Grade.RISKY: Level.WARNING}

CHANGES = (
    Column("server", "server"),
    Column("group", "group", rank=2),
    Column("seen_at", "seen", Kind.TIME, words="When a check first saw it."),
    Column("version", "version", Kind.COUNT, words="Of the server's contract; 1 is the first one seen."),
    Column("grade", "grade", words="breaking, risky or cosmetic (`mcp-status docs contracts`).", rank=-1),
    Column("change", "change", words="What kind of change.", rank=-1),
    Column("item", "item", words="The tool, resource or prompt.", rank=-1),
    Column("detail", "what", is_reason=True),
)
SERVERS = (
    Column("server", "server"),
    Column("group", "group", rank=2),
    Column("versions", "new versions", Kind.COUNT, words="Of its contract in the period, without the first one seen."),
    Column("worst_grade", "worst", words="Grade of the worst change."),
    *(Column(grade.value, grade.value, Kind.COUNT, words=f"Changes of the grade {grade.value}.") for grade in Grade),
    Column("changed_at", "last change", Kind.TIME),
    Column("version", "version now", Kind.COUNT),
    Column("tools", "tools now", Kind.COUNT),
    Column("protocol_version", "protocol"),
    Column("software", "software", words="Name and version that the server says."),
)
_SPREAD = (
    Column("servers", "servers", Kind.COUNT),
    Column("share_ratio", "share", Kind.RATIO),
    Column("state", "state", words="behind where older than the version that more than half run."),
    Column("names", "names", Kind.LIST, words="The first twenty.", is_reason=True),
)
PROTOCOLS = (Column("protocol_version", "protocol"), *_SPREAD)
SOFTWARE = (Column("software", "software"), Column("software_version", "version"), *_SPREAD)


def build(past: Past, period: Period, selection: str = "") -> Report:
    """List changes in what MCP servers offer, the newest first.

    Every change is breaking, risky or cosmetic, by the rules of `mcp-status docs contracts`. Also: the tools that
    servers have now, the versions of the protocol and of the servers, and which servers run an older version than most.

    \b
    mcp-status report contract --since 7d
    mcp-status report contract --group prod --format csv
    mcp-status contract search                              one server's contract in full
    """  # noqa: D301 # click wants the backspace itself
    ids = [server.id for server in past.servers]
    versions = past.versions_since(ids, period.since_ms)
    drifted = [one for one in versions if one.version > 1]
    newest = past.newest_versions(ids)
    facts = past.newest_facts(ids, period.since_ms)
    names = {server.id: server.name for server in past.servers}
    protocols = spread(
        {names[one]: ("", said.protocol_version) for one, said in facts.items() if said.protocol_version}
    )
    software = spread(
        {
            names[one]: (said.server_name, said.server_version)
            for one, said in facts.items()
            if said.server_name and said.server_version
        }
    )
    known = set(facts) | set(newest)
    rows, more = _changes(past, drifted)
    notes = [] if facts or not known else ["no raw row of this time tells tools and versions any more"]
    gone, of_servers = past.versions_not_kept(ids)
    if gone:
        notes.append(
            f"{gone:,} versions of {of_servers} server{'' if of_servers == 1 else 's'} that changed very often are not "
            "kept: of each the first and the latest are"
        )
    if more:
        notes.append(f"{more:,} more changes are not listed: `mcp-status contract SERVER` has what is kept of a server")
    first_seen = len({one.server_id for one in versions if one.version == 1})
    return Report(
        name="contract",
        title="Contracts",
        verdict=verdict(drifted, names, len(known), lagging([*protocols, *software])),
        level=_level(drifted, len(known)),
        since_ms=period.since_ms,
        until_ms=period.until_ms,
        sections=(
            Section("changes", "Changes, the newest first", Table(CHANGES, rows)),
            Section(
                "servers",
                "Servers, the most drifted first",
                Table(SERVERS, _servers(past, drifted, facts, newest)),
                open=True,
            ),
            Section("protocols", "Protocol versions", Table(PROTOCOLS, [_shared(one) for one in protocols])),
            Section("software", "Server versions", Table(SOFTWARE, [[one.of, *_shared(one)] for one in software])),
        ),
        servers=len(past.servers),
        selection=selection,
        numbers=_numbers(drifted, len(known)),
        facts=[("MCP servers", str(len(known))), ("first seen", str(first_seen))],
        notes=notes,
    )


def _numbers(drifted: Sequence[Version], known: int) -> list[KeyNumber]:
    """How many servers changed, and the changes of each grade."""
    if not known:
        return []
    breaking, risky, cosmetic = (
        sum(getattr(one, grade.value) for one in drifted) for grade in (Grade.BREAKING, Grade.RISKY, Grade.COSMETIC)
    )
    changed = len({one.server_id for one in drifted})
    return [
        KeyNumber("changed", f"{changed:,}", f"of {known:,} MCP servers"),
        KeyNumber("breaking", f"{breaking:,}", "changes", Level.BAD if breaking else Level.GOOD),
        KeyNumber("risky", f"{risky:,}", "changes", Level.WARNING if risky else Level.GOOD),
        KeyNumber("cosmetic", f"{cosmetic:,}", "changes"),
    ]


def verdict(drifted: Sequence[Version], names: Mapping[int, str], known: int, behind: Sequence[str]) -> str:
    """One sentence: the number of servers that changed, and the worst of them."""
    if not known:
        return "Nothing is known of the contract of any server in this time."
    late = ""
    if behind:
        late = f"; {len(behind)} run{'s' if len(behind) == 1 else ''} an older version than most: {_listed(behind)}"
    changed = {one.server_id for one in drifted}
    if not changed:
        return f"No contract of {known} MCP server{'' if known == 1 else 's'} changed{late}."
    broken = sorted(names[server] for server in {one.server_id for one in drifted if one.grade == Grade.BREAKING})
    worst = f", {len(broken)} in a breaking way: {_listed(broken)}" if broken else ", none in a breaking way"
    return f"{len(changed)} of {known} MCP server{'' if known == 1 else 's'} changed their contracts{worst}{late}."


def _level(drifted: Sequence[Version], known: int) -> Level:
    if not known:
        return Level.UNKNOWN
    grades = {one.grade for one in drifted}
    return next((level for grade, level in _LEVELS.items() if grade in grades), Level.GOOD)


def _changes(past: Past, drifted: Sequence[Version]) -> tuple[list[list[object]], int]:
    """The rows, and the number of changes left out: one server that changes all the time must not fill the list."""
    by_id = {server.id: server for server in past.servers}
    rows: list[list[object]] = []
    listed: Counter[int] = Counter()
    for one in drifted:
        server = by_id[one.server_id]
        shown = one.changes[: MOST_CHANGES - listed[server.id]]
        listed[server.id] += len(shown)
        rows += [
            [server.name, server.group, one.seen_at_ms, one.version]
            + [change.get(key) for key in ("grade", "kind", "item", "detail")]
            for change in shown
        ]
    return rows, sum(one.breaking + one.risky + one.cosmetic for one in drifted) - len(rows)


def _servers(
    past: Past, drifted: Sequence[Version], facts: Mapping[int, ServerFacts], newest: Mapping[int, int]
) -> list[list[object]]:
    """Every server with a contract or facts: those with the worst changes first, then by name."""
    theirs: dict[int, list[Version]] = {}
    for one in drifted:
        theirs.setdefault(one.server_id, []).append(one)
    ranked: list[tuple[list[int], int, str, list[object]]] = []
    for server in past.servers:
        if server.id not in facts and server.id not in newest:
            continue
        versions = theirs.get(server.id, [])
        of_grade = [sum(getattr(one, grade.value) for one in versions) for grade in Grade]
        worst = next((grade.value for grade, count in zip(Grade, of_grade, strict=True) if count), None)
        said = facts.get(server.id)
        row: list[object] = [
            server.name,
            server.group,
            len(versions),
            worst,
            *of_grade,
            versions[0].seen_at_ms if versions else None,
            newest.get(server.id),
            said.tool_count if said else None,
            said.protocol_version if said else None,
            " ".join(part for part in (said.server_name, said.server_version) if part) if said else None,
        ]
        ranked.append(([-number for number in of_grade], -len(versions), server.name, row))
    return [row for *_, row in sorted(ranked, key=lambda one: one[:3])]


def _shared(one: Share) -> list[object]:
    state = "behind" if one.behind else None
    return [one.version, len(one.servers), one.ratio, state, list(one.servers[:MOST_NAMED])]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
