"""The fast ways through a configuration give what the thorough ones give: values, options, servers and messages."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args, get_origin

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

import checker.settings.load
from checker.errors import ConfigError
from checker.limits import Keep, RunOptions
from checker.probe_kinds import KINDS
from checker.probes import probe_of
from checker.settings.blocks import ServerEntry
from checker.settings.files import Files
from checker.settings.legacy_options import PerformanceOptimization
from checker.settings.servers import ServerReader
from checker.settings.usual_options import usual
from checker.settings.validate import Source, judged, option_types
from checker.settings.yaml_document import Problem, read, read_thoroughly
from checker.settings.yaml_values import Unusual, values_of
from checker.structs import is_options

EXAMPLES = int(os.environ.get("MCP_STATUS_EXAMPLES", "100"))

# YAML: text in flow style, of which a part is faulty

WORDS = (
    *(
        "name",
        "url",
        "n",
        "y",
        "yes",
        "No",
        "true",
        "off",
        "null",
        "~",
        "=",
        "<<",
        "a b",
        "-",
        "1",
        "-7",
        "0x1f",
        "017",
    ),
    *("1_000", "12:30", "2024-01-01", "1.5", ".5", "1e3", ".inf", "-.INF", ".nan", "9" * 20, "1:2.5", "0b1", "0o7"),
    *('"quoted"', "'it''s'", '"\\x24{HOME}"', '"1"', "'null'", "!!str 5", "! x", "nullable", "truest", "éa", "''"),
)
scalars = st.sampled_from(WORDS)
anchors = st.sampled_from(("", "", "", "&a ", "&b ", "&c "))
aliases = st.sampled_from(("*a", "*b", "*c", "*d"))
merges = st.sampled_from(("<<: *a", "<<: *b", "<<: [*a, *b]", "<<: [*a, {x: 1}]", "<<: {x: 1, y: 2}", "<<: [[*a]]"))


def collections(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    entries = st.one_of(
        st.builds("{}: {}".format, scalars, inner), st.builds("{}: {}".format, scalars, aliases), merges
    )
    listed = st.lists(st.one_of(inner, aliases), max_size=4).map(lambda items: f"[{', '.join(items)}]")
    keyed = st.lists(entries, max_size=5).map(lambda items: f"{{{', '.join(items)}}}")
    return st.builds("{}{}".format, anchors, st.one_of(listed, keyed))


documents = st.builds(
    "servers: {}\nx-a: {}\nx-b: {}\n".format,
    *[st.recursive(st.builds("{}{}".format, anchors, scalars), collections, max_leaves=12) for _ in range(3)],
)


@settings(max_examples=EXAMPLES, deadline=None)
@given(documents)
@example("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: {y: 4, <<: [{y: 5, z: 6}, *a]}\n")
@example("a: &a {x: 1}\nb: &b {<<: *a, x: 2}\nc: {<<: *b}\n")
@example("a: &a [1]\na: *a\n")
@example("a: &a [*a]\n")
@example("a: &a [&a 1]\n")
@example("a: 1\n---\nb: 2\n")
@example("? {a: 1}\n: 2\n")
def test_values_are_those_of_the_thorough_way(text: str) -> None:
    try:
        found = values_of(text)
    except Unusual:
        return
    assert repr(found) == repr(read_thoroughly(Path("x.yaml"), text).values)


@pytest.mark.parametrize(
    "text",
    [
        "name: a\nlist: [1, two, 3.5, no]\n",
        "a: &a {x: 1}\nb: *a\nc: {<<: *a, y: 2}\nd: {x: 3, <<: *a}\n",
        (Path(__file__).parent.parent / "config" / "full.yaml").read_text(),
    ],
)
def test_what_is_usual_needs_no_second_pass(text: str) -> None:
    assert repr(values_of(text)) == repr(read_thoroughly(Path("x.yaml"), text).values)


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"{c}: &{c} [{', '.join([f'*{b}'] * 9)}]\n" for b, c in zip("abcdefghi", "bcdefghij", strict=True)),
        "a: &a {k: v}\n"
        + "".join(
            f"{c}: &{c} {{{', '.join(f'{k}: *{b}' for k in 'pqrstuvw')}}}\n"
            for b, c in zip("abcdefg", "bcdefgh", strict=True)
        ),
        "a: " + "[" * 200 + "]" * 200,
        "a: " + "{b: " * 60 + "1" + "}" * 60,
        "a: &a " + "[" * 30 + "]" * 30 + "\nb: &b " + "[" * 30 + "*a" + "]" * 30 + "\n",
    ],
)
def test_hostile_text_is_left_to_the_thorough_way(text: str) -> None:
    with pytest.raises(Unusual):
        values_of(text)
    with pytest.raises(ConfigError, match=r"nested too deeply|too large once its aliases are expanded"):
        read_thoroughly(Path("x.yaml"), text)


# options: blocks of which a part is faulty, for the validator and without it

PLAIN = st.sampled_from(
    (
        *(
            "30s",
            "1h30m",
            "300ms",
            "5",
            "1.5",
            "1MiB",
            "64KiB",
            "99.9%",
            "text",
            "",
            "nan",
            "1e400",
            "host:53",
            "a" * 40,
        ),
        *("GET", "POST", "auto", "fast", "healthy", "degraded", "unhealthy", "HEALTHY", "critical", "wait", "json"),
        *("200-299", "tools", "workers", "$.a", "mon", "22:00", "Europe/Berlin", "https://host/path", "ES256", "sse"),
        *(0, 1, -1, 5, 200, 10**18, 10**400, 1.0, 2.5, -0.5, 1e300, True, False, None),
    )
)
ANYTHING = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(("rest", "mcp", "x", "Accept")), inner, max_size=3)
    ),
    max_leaves=4,
)
CLASSES = (ServerEntry, RunOptions, Keep, PerformanceOptimization, *(probe_of(kind).options for kind in KINDS))


def blocks(kind: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Some of the options of a class, with values that may be meant for others."""

    def value(hint: Any) -> st.SearchStrategy[Any]:
        if is_options(hint):
            return st.one_of(st.deferred(lambda: blocks(hint)), PLAIN)
        if get_origin(hint) is tuple:
            return st.one_of(st.lists(value(get_args(hint)[0]), max_size=3), PLAIN)
        if get_origin(hint) is Mapping:
            return st.one_of(
                st.dictionaries(st.sampled_from(("rest", "mcp", "x")), value(get_args(hint)[1]), max_size=2)
            )
        return ANYTHING

    types = option_types(kind)
    needed = [name for name in ("name", "url") if name in types]
    chosen = st.lists(st.sampled_from(kind.__struct_fields__), max_size=4, unique=True)
    return chosen.flatmap(lambda names: st.fixed_dictionaries({name: value(types[name]) for name in (*names, *needed)}))


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_options_are_those_of_the_validator(kind: Any) -> None:
    accepted = 0

    @settings(max_examples=EXAMPLES, deadline=None)
    @given(blocks(kind))
    def compare(values: dict[str, Any]) -> None:
        nonlocal accepted
        try:
            found = usual(kind, values)
        except ValueError:
            return
        accepted += 1
        problems: list[Problem] = []
        expected = judged(kind, values, Source((), values, problems))
        assert problems == []
        assert found == expected
        assert repr(found) == repr(expected), "whole numbers stay whole, and secrets stay secrets"

    compare()
    assert accepted > EXAMPLES // 50


def test_default_configuration_needs_no_validator() -> None:
    text = (Path(__file__).parent.parent / "config" / "full.yaml").read_text()
    document = values_of(text)
    assert usual(RunOptions, {key: item for key, item in document["run"].items() if not key.endswith("_file")})


# whole fleets

ENTRY_OPTIONS: dict[str, st.SearchStrategy[Any]] = {
    "group": st.sampled_from(("a", "b", 5)),
    "tags": st.sampled_from((["x"], ["x", "y"], [], "x", [1])),
    "priority": st.sampled_from(("high", "highest")),
    "weights": st.sampled_from(({"rest": 2}, {"rest": 0}, {"mcp": 1}, {"rest": -1}, {"ftp": 1})),
    "remarks": st.sampled_from(("degraded", "healthy", "bad")),
    "maintenance": st.sampled_from(([{"days": ["mon"], "start": "22:00", "end": "23:00"}], [{"start": "25:00"}])),
    "objective": st.sampled_from(("99.9%", "100%")),
    "unknown": st.just(1),
}
BLOCK_OPTIONS: dict[str, st.SearchStrategy[Any]] = {
    "timeout": st.sampled_from(("3s", "0s", "soon")),
    "headers": st.sampled_from(
        ({"X-Key": "k1"}, {"X-Key": "k2"}, {"bad name": "x"}, {"X": 5}, {"Authorization": "x"}, None)
    ),
    "bearer": st.sampled_from(("t1", "t2", "has space", "${TOKEN}", "\\$")),
    "tls": st.sampled_from(({"verify": False}, {"verify": "maybe"})),
    "expect": st.sampled_from(({"status": [200]}, {"max_latency": None}, {"json": [{"path": "$.a", "equals": 1}]})),
    "retry": st.sampled_from(({"max_attempts": 2}, {"max_attempts": 0})),
}
addresses = st.sampled_from(
    (
        *("http://127.0.0.1:8000/a", "http://127.0.0.1:8001/b", "https://host/a", "https://host.example/b?c=d"),
        *("HTTP://host/", "ftp://host/", "https://user:word@host/", "https://", "", "host", 5, "https://host:99999/"),
    )
)
probe_blocks = st.one_of(
    addresses,
    st.builds(
        lambda url, options: {"url": url, **options},
        addresses,
        st.fixed_dictionaries({}, optional=BLOCK_OPTIONS),
    ),
    st.none(),
)
usual_blocks = st.sampled_from(
    ("http://127.0.0.1:8000/a", {"url": "http://127.0.0.1:8000/b", "headers": {"X-Key": "k"}})
)
names = st.sampled_from((*"abcdefgh", " a", "", "a\tb", 5, "x" * 201))
entries = st.builds(
    lambda name, kinds, options: {"name": name, **kinds, **options},
    names,
    st.fixed_dictionaries({}, optional={"rest": st.one_of(usual_blocks, probe_blocks), "mcp": probe_blocks}),
    st.one_of(st.just({}), st.fixed_dictionaries({}, optional=ENTRY_OPTIONS)),
)
defaults = st.sampled_from(
    (
        {},
        {"rest": {"timeout": "7s", "headers": {"X-All": "1"}}, "mcp": {"ping": False}},
        {"rest": {"tls": {"ca_file": __file__}}, "group": "all"},
        {"remarks": "degraded", "weights": {"rest": 0}},
        {"rest": {"bearer": "all"}},
    )
)


def one_by_one(document: Any, environ: Mapping[str, str]) -> Any:
    """The servers, or the message, of readers that have seen no other entry."""
    problems: list[Problem] = []
    values = checker.settings.load.expand(document.values, environ, (), problems)
    if problems:
        raise document.refuse(problems)
    whole, servers = Source((), document.values, problems), {}
    for index, entry in enumerate(values["servers"]):
        reader = ServerReader(Files(document.path.parent))
        mine = problems if index == 0 else []
        reader.read_defaults(values["defaults"], Source(("defaults",), values["defaults"], mine), {})
        source = whole.below("servers", index)
        server = reader.server(entry, source)
        name = server.name if server is not None else entry.get("name")
        if not isinstance(name, str):
            continue
        if name in servers:
            source.complain(("name",), f'"{name}" is used by another server too; names must be unique')
        servers[name] = server
    if problems:
        raise document.refuse(problems, 10)
    return tuple(servers.values())


def outcome(way: Any) -> Any:
    try:
        return repr(way())
    except ConfigError as error:
        return str(error)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with TemporaryDirectory() as name:
        yield Path(name)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(entries, min_size=1, max_size=12), defaults)
def test_fleet_is_that_of_its_entries_one_by_one(folder: Path, listed: list[Any], of_all: dict[str, Any]) -> None:
    file = folder / "fleet.yaml"
    file.write_text(yaml.safe_dump({"defaults": of_all, "servers": listed}, sort_keys=False))
    environ = {"TOKEN": "t3"}
    thorough = read_thoroughly(file, file.read_text())
    found = outcome(lambda: checker.settings.load.load(file, None, environ).servers)
    assert found == outcome(lambda: one_by_one(thorough, environ))


def test_lines_are_looked_for_only_where_a_message_needs_them(folder: Path) -> None:
    file = folder / "lines.yaml"
    file.write_text("servers:\n  - name: a\n    rest: http://127.0.0.1:1/\n")
    document = read(file)
    file.write_text("something else")
    assert document.lines["servers", 0, "rest"] == 3, "of the text that was read"


def test_dollar_that_is_written_as_an_escape_is_filled_in(folder: Path) -> None:
    file = folder / "escape.yaml"
    file.write_text('servers:\n  - name: a\n    rest: {url: "http://127.0.0.1:1/", bearer: "\\x24{TOKEN}"}\n')
    (server,) = checker.settings.load.load(file, None, {"TOKEN": "filled-in"}).servers
    assert server.probes["rest"].bearer == "filled-in"
