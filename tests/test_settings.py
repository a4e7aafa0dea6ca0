"""Configuration files: every broken one has its exact message, every good one means what it says."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from checker.errors import ConfigError, UsageError
from checker.settings.adhoc import adhoc
from checker.settings.load import load
from checker.settings.overlay import merged
from checker.settings.schema import json_schema
from checker.settings.selection import select
from checker.units import parse_duration, parse_size

ROOT = Path(__file__).resolve().parent.parent
INVALID = Path(__file__).parent / "data" / "invalid"


def messages() -> dict[str, str]:
    blocks = (INVALID / "messages.txt").read_text().split("\n== ")[1:]
    return {name: text.strip() for name, _, text in (block.partition("\n") for block in blocks)}


def written(tmp_path: Path, document: Any) -> Path:
    file = tmp_path / "fleet.yaml"
    file.write_text(yaml.safe_dump(document))
    return file


ONE = {"servers": [{"name": "a", "rest": "http://h/"}]}


def test_every_broken_file_has_its_message() -> None:
    assert sorted(messages()) == sorted(file.stem for file in INVALID.glob("*.yaml"))


@pytest.mark.parametrize("name", messages())
def test_broken_file_is_refused_with_the_exact_message(name: str) -> None:
    file = INVALID / f"{name}.yaml"
    environment = "production" if name.startswith("environment") else None
    with pytest.raises(ConfigError) as refused:
        load(file, environment, {})
    assert str(refused.value).replace(str(file), "FILE") == messages()[name]
    assert "hush" not in str(refused.value), "a secret is shown"


@pytest.mark.parametrize("name", ["minimal", "full", "legacy", "demo"])
@pytest.mark.parametrize("environment", [None, "development", "staging", "production"])
def test_shipped_configuration_loads_and_fits_its_schema(name: str, environment: str | None) -> None:
    file = ROOT / "config" / f"{name}.yaml"
    document = yaml.safe_load(file.read_text())
    Draft202012Validator(json_schema()).validate(document)
    if environment is None or environment in document.get("environments", {}):
        assert load(file, environment, {}).servers


def test_schema_refuses_what_the_loader_refuses() -> None:
    validator = Draft202012Validator(json_schema())
    names = (
        "unknown_probe_key",
        "missing_name",
        "no_probe",
        "bad_choice",
        "wrong_type",
        "unknown_default",
        "unasked_environment",
        "environment_servers_listed",
        "bad_run",
        "original_bad_value",
    )
    for name in names:
        assert not validator.is_valid(yaml.safe_load((INVALID / f"{name}.yaml").read_text())), name


def test_full_configuration_names_every_option() -> None:
    from msgspec.structs import fields

    from checker.probe_kinds import KINDS
    from checker.probes import probe_of
    from checker.structs import Options

    text = (ROOT / "config" / "full.yaml").read_text()
    names = {field.name for kind in KINDS for field in fields(probe_of(kind).options)}
    names |= {
        inner.name
        for kind in KINDS
        for field in fields(probe_of(kind).options)
        if isinstance(field.default, Options)
        for inner in fields(field.default)
    }
    assert [name for name in sorted(names) if f"{name}:" not in text and f"{name} " not in text] == []


def test_defaults_are_laid_under_every_server(tmp_path: Path) -> None:
    document = {
        "defaults": {"group": "g", "mcp": {"timeout": "7s", "retry": {"max_attempts": 4}}, "weights": {"mcp": 3}},
        "servers": [
            {"name": "a", "mcp": "http://h/mcp"},
            {"name": "b", "group": "own", "mcp": {"url": "http://h/mcp", "retry": {"jitter": 0}}},
        ],
    }
    first, second = load(written(tmp_path, document), None, {}).servers
    assert (first.group, first.probes["mcp"].timeout, first.weights) == ("g", 7.0, {"mcp": 3})
    assert (second.group, second.probes["mcp"].retry.max_attempts, second.probes["mcp"].retry.jitter) == ("own", 4, 0)


def test_environment_is_laid_over_the_file(tmp_path: Path) -> None:
    document = {
        **ONE,
        "run": {"concurrency": 5, "workers": 1},
        "environments": {
            "production": {"run": {"concurrency": 50}, "servers": {"a": {"rest": {"url": "http://h/", "timeout": 1}}}}
        },
    }
    file = written(tmp_path, document)
    assert load(file, None, {}).run.concurrency == 5
    for settings in (load(file, "production", {}), load(file, None, {"MCP_STATUS_ENV": "production"})):
        assert (settings.run.concurrency, settings.run.workers, settings.environment) == (50, 1, "production")
        assert settings.servers[0].probes["rest"].timeout == 1.0
    with pytest.raises(ConfigError, match='no environment "test"; there are: production'):
        load(file, "test", {})


def test_environment_and_file_may_write_an_address_alone(tmp_path: Path) -> None:
    document = {
        "servers": [{"name": "a", "rest": "http://h/"}, {"name": "b", "rest": {"url": "http://h/", "timeout": 3}}],
        "environments": {
            "production": {"servers": {"a": {"rest": {"timeout": 1}}, "b": {"rest": "http://production/"}}}
        },
    }
    first, second = (server.probes["rest"] for server in load(written(tmp_path, document), "production", {}).servers)
    assert (first.url, first.timeout) == ("http://h/", 1.0)
    assert (second.url, second.timeout) == ("http://production/", 3.0)


def test_environment_switches_a_kind_off(tmp_path: Path) -> None:
    document = {
        "servers": [{"name": "a", "mcp": "http://h/mcp", "rest": "http://h/", "weights": {"mcp": 2, "rest": 1}}],
        "environments": {"production": {"servers": {"a": {"rest": None}}}},
    }
    file = written(tmp_path, document)
    assert list(load(file, None, {}).servers[0].probes) == ["mcp", "rest"]
    assert list(load(file, "production", {}).servers[0].probes) == ["mcp"]


def test_unknown_environment_says_who_named_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='no environment "test", which MCP_STATUS_ENV names; there are: none'):
        load(written(tmp_path, ONE), None, {"MCP_STATUS_ENV": "test"})


def test_variables_are_filled_in(tmp_path: Path) -> None:
    rest = {"url": "http://${HOST}:${PORT:-80}/", "headers": {"X-Price": "$$5"}, "expect": {"body_regex": "^ok$"}}
    (server,) = load(written(tmp_path, {"servers": [{"name": "a", "rest": rest}]}), None, {"HOST": "h"}).servers
    assert server.probes["rest"].url == "http://h:80/"
    assert server.probes["rest"].headers == {"X-Price": "$5"}
    assert server.probes["rest"].expect.body_regex == "^ok$"


def test_token_is_read_from_its_file_and_never_shown(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("c4nary\n")
    document = {"servers": [{"name": "a", "mcp": {"url": "https://h/mcp", "bearer_file": "token"}}]}
    settings = load(written(tmp_path, document), None, {})
    assert settings.servers[0].probes["mcp"].bearer == "c4nary"
    assert "c4nary" not in repr(settings)


def test_credentials_of_a_server_replace_those_of_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "own").write_text("own")
    (tmp_path / "all").write_text("all")
    document: dict[str, Any] = {
        "defaults": {"mcp": {"bearer_file": "all"}, "rest": {"bearer": "all"}},
        "servers": [
            {"name": "a", "mcp": "https://h/mcp", "rest": "https://h/"},
            {"name": "b", "mcp": {"url": "https://h/mcp", "bearer": "own"}},
            {"name": "c", "rest": {"url": "https://h/", "bearer_file": "own"}},
            {"name": "d", "rest": {"url": "https://h/", "bearer": None, "headers": {"Authorization": "own"}}},
        ],
    }
    tokens = [
        [options.bearer for options in server.probes.values()]
        for server in load(written(tmp_path, document), None, {}).servers
    ]
    assert tokens == [["all", "all"], ["own"], ["own"], [None]]


def test_default_authorities_are_for_the_https_servers(tmp_path: Path) -> None:
    document = {
        "defaults": {"rest": {"tls": {"verify": False}}},
        "servers": [{"name": "a", "rest": "http://h/"}, {"name": "b", "rest": "https://h/"}],
    }
    plain, encrypted = load(written(tmp_path, document), None, {}).servers
    assert (plain.probes["rest"].tls.verify, encrypted.probes["rest"].tls.verify) == (True, False)


def test_header_may_be_named_like_a_file_option(tmp_path: Path) -> None:
    rest = {"url": "http://h/", "headers": {"x_file": "no/such/file"}}
    (server,) = load(written(tmp_path, {"servers": [{"name": "a", "rest": rest}]}), None, {}).servers
    assert server.probes["rest"].headers == {"x_file": "no/such/file"}


SECRET_PLACES = (
    "bearer: [{}]",
    "bearer: {}\n      bearer_file: no/such",
    "bearer: '{} {}'",
    "bearer: !{} x",
    "bearer: *{}",
    "bearer: '${{1-{}}}'",
    "bearer: '${{1:-{}}}'",
    "bearer: '${{CANARY}} ${{UNSET}}'",
    "bearer: '${{CANARY}} x'",
    "headers: {}",
    "headers: [{}]",
    "headers: {{Authorization: [{}]}}",
    "headers: {{Authorization: '${{CANARY}}\\x'}}\n      bearer: x",
    'headers: {{X-A: "{}\\n"}}',
    "body: [{}]",
    "body: {}",
    "url: ftp://me:{}@h/",
    "url: http://me:{}@h:99999/?key={}",
    "url: http://me:{}@h/\n      bearer: x",
    "url: 'http://me:${{CANARY}}@/'",
    "timeout: ${{CANARY}}",
    "expect: {{status: ['${{UNSET}}${{CANARY}}']}}",
)


@pytest.mark.parametrize("spelled", SECRET_PLACES)
def test_no_message_shows_a_secret(tmp_path: Path, spelled: str) -> None:
    canary = "c4nary"
    file = tmp_path / "fleet.yaml"
    url = "" if spelled.startswith("url") else "url: https://h/\n      "
    file.write_text(f"servers:\n  - name: a\n    rest:\n      {url}{spelled.format(canary, canary)}\n")
    with pytest.raises(ConfigError) as refused:
        load(file, None, {"CANARY": canary})
    assert canary not in str(refused.value)


@pytest.mark.parametrize("opening", ["[", "{a: ", "? ", "- "])
def test_deep_nesting_is_refused_before_it_overflows_the_stack(tmp_path: Path, opening: str) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text("x-a:\n  " + opening * 100_000)
    with pytest.raises(ConfigError, match="not valid YAML: "):
        load(file, None, {})


def test_what_only_old_yaml_takes_for_dates_and_numbers_is_text(tmp_path: Path) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text(
        "servers:\n  - name: 2026-13-45\n    rest:\n      url: http://h/\n"
        "      expect: {json: [{path: $.a, one_of: [2026-01-02, 12:30, 1:2.5, =, 7]}]}\n"
    )
    (server,) = load(file, None, {}).servers
    assert server.name == "2026-13-45"
    assert server.probes["rest"].expect.json[0].one_of == ("2026-01-02", "12:30", "1:2.5", "=", 7)


def test_anchors_and_merge_keys_work(tmp_path: Path) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text(
        "x-slow: &slow {timeout: 9s}\nservers:\n"
        "  - {name: a, rest: {<<: *slow, url: 'http://h/'}}\n  - {name: b, rest: {<<: [*slow], url: 'http://h/'}}\n"
    )
    assert [server.probes["rest"].timeout for server in load(str(file), None, {}).servers] == [9.0, 9.0]


def test_large_file_without_aliases_is_no_bomb(tmp_path: Path) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text("servers:\n  - {name: a, rest: 'http://h/'}\nx-a:\n" + "  - [a, b, c, d]\n" * 30_000)
    assert load(file, None, {}).servers


def test_loading_leaves_the_cycle_collector_as_it_was(tmp_path: Path) -> None:
    load(written(tmp_path, ONE), None, {})
    assert gc.isenabled()


def test_ten_thousand_servers_load_in_seconds(tmp_path: Path) -> None:
    server = {
        "mcp": {"url": "http://h/mcp", "timeout": "5s"},
        "rest": {"url": "http://h/", "expect": {"status": [200]}},
    }
    file = written(tmp_path, {"servers": [{"name": f"s{number}", **server} for number in range(10_000)]})
    start = time.process_time()
    assert len(load(file, None, {}).servers) == 10_000
    assert time.process_time() - start < 20


def test_servers_are_chosen_by_tag_group_and_name(tmp_path: Path) -> None:
    document = {
        "servers": [
            {"name": "a", "tags": ["prod"], "group": "x", "rest": "http://h/"},
            {"name": "b", "tags": ["prod", "eu"], "group": "y", "rest": "http://h/"},
            {"name": "c", "rest": "http://h/"},
        ]
    }
    servers = load(written(tmp_path, document), None, {}).servers
    assert [one.name for one in select(servers, tags=["prod"])] == ["a", "b"]
    assert [one.name for one in select(servers, tags=["prod"], groups=["y"])] == ["b"]
    assert [one.name for one in select(servers, names=["c"])] == ["c"]
    assert len(select(servers)) == 3
    with pytest.raises(UsageError, match='no tag "prd" in this configuration; there are: prod'):
        select(servers, tags=["prd"])
    with pytest.raises(UsageError, match="no server has all"):
        select(servers, names=["c"], groups=["x"])


def test_addresses_need_no_file() -> None:
    server = adhoc({"mcp": "http://h:1/mcp", "rest": "http://h:2/health"})
    assert (server.name, list(server.probes)) == ("h:1", ["mcp", "rest"])
    with pytest.raises(ConfigError, match='--rest: "nonsense" is not an http or https address'):
        adhoc({"rest": "nonsense"})
    with pytest.raises(ConfigError) as refused:
        adhoc({"rest": "http://me:c4nary@h:99999/"})
    assert "c4nary" not in str(refused.value)
    with pytest.raises(ConfigError, match="--timeout: 0 is not a time limit"):
        adhoc({"rest": "http://h/"}, timeout_s=0.0)


@pytest.mark.parametrize("kind", ["rest", "mcp"])
@pytest.mark.parametrize(
    "written_as", ["http://h:0/", "https://h:00/a", "http://h:0", "https://[::1]:0/", "http://me:c4nary@h:0"]
)
def test_port_zero_is_refused(tmp_path: Path, kind: str, written_as: str) -> None:
    """It is no other port: neither the usual one, nor one that the system chooses."""
    file = written(tmp_path, {"servers": [{"name": "a", kind: written_as}]})
    with pytest.raises(ConfigError) as refused:
        load(file, None, {})
    text = str(refused.value)
    assert text.startswith(f"{file}:")
    assert f"servers[0].{kind}" in text or f"a.{kind}" in text, "which key"
    assert "port 0, which no server can have; write the port that it listens on" in text
    assert (":0" in text, "c4nary" in text) == (True, False)
    with pytest.raises(ConfigError, match=f"--{kind}: .*port 0"):
        adhoc({kind: written_as})
    good = {"name": "a", kind: "http://h:10/"}
    with pytest.raises(ConfigError, match="proxy"):
        load(written(tmp_path, {"servers": [{**good, kind: {"url": "http://h/", "proxy": "http://p:0"}}]}), None, {})
    with pytest.raises(ConfigError, match=r"run.canaries.*write host:port"):
        load(written(tmp_path, {"run": {"canaries": ["h:0"]}, "servers": [good]}), None, {})
    assert load(written(tmp_path, {"servers": [good]}), None, {}).servers


NAMES = {
    # a command: the name of the server that it starts, where it tells the whole command; else how it begins
    "npx -y @modelcontextprotocol/server-memory": "@modelcontextprotocol/server-memory",
    "npx -y @modelcontextprotocol/server-filesystem@1.2 /data": "@modelcontextprotocol/server-filesystem /data",
    "npx -c 'demo-mcp serve'": "demo-mcp serve",
    "uvx demo-mcp==1.0": "demo-mcp",
    "uvx --from git+https://git.test/demo demo-mcp": "demo-mcp #",
    "uv run --directory /srv/demo server.py": "server.py #",
    "uv --directory /srv/demo run server.py": "server.py #",
    "python -m demo_mcp --stdio": "demo_mcp --stdio",
    "python3.11 -u demo.py": "demo.py",
    "node build/index.js": "build/index.js",
    "env A=b DEMO_TOKEN=c4naryc4nary python -m demo": "demo #",
    "docker run -i --rm mcp/time": "mcp/time",
    "docker run -i --rm -e DEMO_TOKEN -v /a:/b mcp/time stdio": "mcp/time stdio #",
    "sh -c 'cd /srv && exec node index.js'": "index.js #",
    "bash -lc 'uvx demo-mcp'": "demo-mcp",
    "sudo -u demo timeout 60 npx demo-mcp": "demo-mcp",
    "java -jar /srv/demo.jar": "/srv/demo.jar",
    "npx -y mcp-remote https://a.test/mcp?key=c4naryc4nary": "mcp-remote https://a.test/mcp #",
    "/venv/bin/demo-mcp --token c4naryc4nary": "demo-mcp --token #",
    "./demo.sh": "./demo.sh",
}


def test_commands_are_named_after_what_tells_them_apart() -> None:
    for command, expected in NAMES.items():
        name = adhoc({"stdio": command}).name
        assert name == expected or (expected.endswith("#") and name.startswith(expected)), (command, name)
        assert name == adhoc({"stdio": command}).name
        assert "c4nary" not in name


def test_commands_that_differ_have_names_that_differ() -> None:
    ways = ["npx -y {}", "uvx {}", "env A=b {}", "env A={} demo", "node /srv/{}/index.js", "python /srv/{}/server.py"]
    ways += ["python -m {}", "python -c 'import {}'", "docker run -i -v /{}:/data demo", "sh -c 'cd /{} && node a.js'"]
    ways += ["npx demo /{}", "uvx --from {} demo", "mcp-remote https://demo.test/{}/mcp", "uv run --directory /{} a.py"]
    for way in ways:
        assert adhoc({"stdio": way.format("alpha")}).name != adhoc({"stdio": way.format("beta")}).name, way
    long = [adhoc({"stdio": f"npx demo {'x' * 100} {one}"}).name for one in ("alpha", "beta")]
    assert long[0] != long[1]
    assert max(map(len, long)) < 80
    assert adhoc({"mcp": "http://h:1/servers/time/mcp"}).name == "h:1/servers/time/mcp"


def test_address_on_the_command_line_needs_neither_the_reader_nor_the_validator() -> None:
    code = """
import sys
from checker.settings.adhoc import adhoc
from checker.settings.selection import select
from checker.settings.blocks import Settings
found = Settings(servers=(adhoc({"stdio": "run 'a b'", "rest": "http://h/"}),))
print(select(found.servers)[0].probes["mcp"].args, [name for name in ("yaml", "pydantic") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "('a b',) []\n"


def test_schema_in_the_repository_is_fresh() -> None:
    import json

    assert json.loads((ROOT / "config" / "schema.json").read_text()) == json_schema()


@given(st.integers(0, 10**6), st.sampled_from(["ms", "s", "m", "h", "d"]))
def test_durations_add_up(number: int, unit: str) -> None:
    seconds = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}[unit]
    if number * seconds > 3650 * 86400 - 3600:
        with pytest.raises(ValueError, match="at most 3650d"):
            parse_duration(f"1h1m{number}{unit}")
        return
    assert parse_duration(f"{number}{unit}") == pytest.approx(number * seconds)
    assert parse_duration(f"1h{number}{unit}") == pytest.approx(3600 + number * seconds)


@pytest.mark.parametrize("text", ["", "5 s", "-1s", "s", "1w", "1h-2m", True, None, float("nan"), float("inf")])
def test_what_is_no_duration_is_refused(text: Any) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


def test_sizes_have_binary_units() -> None:
    assert [parse_size(text) for text in ("512B", "64KiB", "1 MiB", "2GiB", 7)] == [512, 65536, 2**20, 2**31, 7]
    for wrong in ("1MB", "-1B", "many", True, 1.5):
        with pytest.raises(ValueError, match="size"):
            parse_size(wrong)  # type: ignore[arg-type] # on purpose


_documents = st.recursive(
    st.integers() | st.text(max_size=3),
    lambda inner: st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)


@given(_documents, _documents)
def test_laying_over_keeps_what_is_above_and_what_is_only_below(below: Any, above: Any) -> None:
    laid = merged(below, above)
    assert merged(laid, above) == laid
    assert merged({}, below) == below
    if isinstance(below, dict):
        assert merged(below, {}) == below
    if isinstance(below, dict) and isinstance(above, dict):
        assert set(laid) == {*below, *above}


def test_environment_variables_of_the_process_are_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "HERE", "h")
    (server,) = load(written(tmp_path, {"servers": [{"name": "a", "rest": "http://${HERE}/"}]})).servers
    assert server.probes["rest"].url == "http://h/"
