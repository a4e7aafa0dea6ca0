"""Plans of load tests: every broken one has its exact message, every good one becomes what it says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from msgspec import NODEFAULT
from msgspec.structs import fields

from checker.errors import ConfigError, UsageError
from checker.loadtest.plan import LoadLimits, Model, Output, Plan, Scenario, Stage, StageKind, Stress, Suite
from checker.loadtest.planning.plan_validation import all_faults
from checker.loadtest.planning.stages import lines, settled, shorthand, stage_faults
from checker.settings.loadtests.blocks import ScenarioEntry, ThresholdEntry
from checker.settings.loadtests.plan_file import load_plan, stored_plan
from checker.settings.loadtests.quick import quick_plan
from checker.settings.schema import plan_schema

ROOT = Path(__file__).resolve().parent.parent
INVALID = Path(__file__).parent / "data" / "invalid_plans"
SHIPPED = ["benchmark", "bench-stress", "bench-suite"]
URL = "http://127.0.0.1:18201/health"
ONE: dict[str, Any] = {"servers": [{"name": "a", "rest": URL}]}
SHORT: dict[str, Any] = {"operation": "rest", "rate": 10, "duration": "10s"}


def messages() -> dict[str, str]:
    blocks = (INVALID / "messages.txt").read_text().split("\n== ")[1:]
    return {name: text.strip() for name, _, text in (block.partition("\n") for block in blocks)}


def planned(tmp_path: Path, document: Any, environ: Any = None, **choice: Any) -> Plan:
    file = tmp_path / "plan.yaml"
    file.write_text(yaml.safe_dump(document))
    return load_plan(file, environ=environ or {}, **choice)


def stages_of(plan: Plan, scenario: str = "x") -> list[tuple[str, str, float, float]]:
    return [(str(one.kind), one.name, one.duration, one.target) for one in plan.scenarios[scenario].stages]


def test_every_broken_plan_has_its_message() -> None:
    assert sorted(messages()) == sorted(file.stem for file in INVALID.glob("*.yaml"))


@pytest.mark.parametrize("name", messages())
def test_broken_plan_is_refused_with_the_exact_message(name: str) -> None:
    file = INVALID / f"{name}.yaml"
    with pytest.raises(ConfigError) as refused:
        load_plan(file, environ={})
    assert str(refused.value).replace(str(file), "FILE") == messages()[name]


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_plan_loads_and_fits_its_schema(name: str) -> None:
    file = ROOT / "config" / f"{name}.yaml"
    Draft202012Validator(plan_schema()).validate(yaml.safe_load(file.read_text()))
    plan = load_plan(file, environ={})
    assert plan.warnings == ()
    json.dumps(plan.source)


def test_schema_refuses_what_the_loader_refuses() -> None:
    validator = Draft202012Validator(plan_schema())
    names = ("unknown_top_key", "two_kinds", "nothing_to_play", "no_load", "bad_stage", "bad_limits", "bad_output")
    for name in names:
        assert not validator.is_valid(yaml.safe_load((INVALID / f"{name}.yaml").read_text())), name


def test_schema_in_the_repository_is_fresh() -> None:
    assert json.loads((ROOT / "config" / "bench.schema.json").read_text()) == plan_schema()


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (ScenarioEntry, "benchmark"),
        (Stage, "benchmark"),
        (LoadLimits, "benchmark"),
        (Output, "benchmark"),
        (ThresholdEntry, "benchmark"),
        (Suite, "bench-suite"),
        (Stress, "bench-stress"),
    ],
)
def test_shipped_plan_and_document_name_every_key(kind: Any, name: str) -> None:
    text = (ROOT / "config" / f"{name}.yaml").read_text()
    document = (ROOT / "docs" / "bench-plans.md").read_text()
    assert [one.name for one in fields(kind) if f"{one.name}:" not in text] == []
    assert [one.name for one in fields(kind) if f"`{one.name}`" not in document] == []


def test_comments_of_shipped_plans_say_the_defaults_as_they_are() -> None:
    """Values of the stress plan, and limits, stand at their defaults; where they do not, their comment says it."""
    stress = yaml.safe_load((ROOT / "config" / "bench-stress.yaml").read_text())["stress"]
    plan = load_plan(ROOT / "config" / "bench-stress.yaml", environ={})
    assert plan.stress is not None
    usual = {one.name: one.default for one in fields(Stress) if one.default is not NODEFAULT}
    assert {key: getattr(plan.stress, key) for key in stress if key != "servers"} == {
        key: usual[key] for key in stress if key != "servers"
    }
    assert load_plan(ROOT / "config" / "benchmark.yaml", environ={}).limits == LoadLimits()


def test_examples_in_the_document_load(tmp_path: Path) -> None:
    examples = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "bench-plans.md").read_text(), re.DOTALL)
    assert len(examples) >= 3
    for example in examples:
        document = yaml.safe_load(example)
        for key, value in {**ONE, "scenarios": {"x": SHORT}}.items():
            if key == "servers" or not {"suite", "stress"} & document.keys():
                document.setdefault(key, value)
        assert planned(tmp_path, document, {"TOKEN": "x"}).servers


def test_rate_is_the_open_model_in_stages(tmp_path: Path) -> None:
    around = {"ramp_up": "5s", "warm_up": "3s", "ramp_down": "2s", "cool_down": "1s"}
    plan = planned(tmp_path, {**ONE, "scenarios": {"x": {**SHORT, **around}}})
    assert plan.scenarios["x"].model is Model.OPEN
    assert stages_of(plan) == [
        ("ramp_up", "ramp_up", 5.0, 10.0),
        ("warm_up", "warm_up", 3.0, 10.0),
        ("hold", "hold", 10.0, 10.0),
        ("ramp_down", "ramp_down", 2.0, 0.0),
        ("cool_down", "cool_down", 1.0, 0.0),
    ]


def test_users_are_the_closed_model(tmp_path: Path) -> None:
    scenario = {"operation": "rest", "users": 5, "duration": 10, "model": "closed"}
    plan = planned(tmp_path, {**ONE, "scenarios": {"x": scenario}})
    assert (plan.scenarios["x"].model, stages_of(plan)) == (Model.CLOSED, [("hold", "hold", 10.0, 5.0)])


def test_kinds_are_inferred_as_k6_behaves(tmp_path: Path) -> None:
    given_stages = [
        {"duration": "10s", "target": 20},
        {"duration": "30s", "target": 20},
        {"duration": "0s", "target": 50},
        {"duration": "30s", "target": 50},
        {"duration": "5s", "target": 90, "kind": "spike", "name": "peak"},
        {"duration": "5s", "target": 0},
        {"duration": "5s", "target": 0},
    ]
    plan = planned(tmp_path, {**ONE, "scenarios": {"x": {"operation": "rest", "stages": given_stages}}})
    assert stages_of(plan) == [
        ("ramp_up", "ramp_up", 10.0, 20.0),
        ("hold", "hold 1", 30.0, 20.0),
        ("hold", "hold 2", 30.0, 50.0),
        ("spike", "peak", 5.0, 90.0),
        ("ramp_down", "ramp_down", 5.0, 0.0),
        ("cool_down", "cool_down", 5.0, 0.0),
    ]


STAGES = st.lists(
    st.builds(
        Stage,
        duration=st.sampled_from([1.0, 2.5, 10.0]),
        target=st.sampled_from([0.0, 1.0, 50.0, 80.0]),
        kind=st.none() | st.sampled_from(StageKind),
        name=st.sampled_from(["", "", "hold", "hold 1", "ramp_up", "peak"]),
    ),
    min_size=1,
    max_size=8,
)


@given(STAGES)
def test_every_stage_gets_a_kind_and_a_name_of_its_own(stages: list[Stage]) -> None:
    found = settled(stages)
    given_names = [one.name for one in stages if one.name]
    assert all(one.kind is not None and one.name for one in found)
    if len(set(given_names)) == len(given_names):
        assert len({one.name for one in found}) == len(found)
    assert [(one.duration, one.target) for one in found] == [(one.duration, one.target) for one in stages]
    assert settled(found) == found


@given(st.lists(st.builds(Stage, duration=st.just(1.0), target=st.integers(0, 3).map(float)), min_size=1, max_size=8))
def test_stages_without_kinds_are_the_line_that_k6_draws(stages: list[Stage]) -> None:
    assert list(stage_faults(settled(stages))) == []
    drawn = lines(Scenario(operation="rest", stages=settled(stages)))
    before = [0.0, *(one.target for one in stages)]
    assert [(line.start, line.end) for line in drawn] == list(pairwise(before))


@given(st.integers(1, 100), *(st.sampled_from([0.0, 1.0, 5.0]) for _ in range(4)))
def test_short_form_measures_only_its_duration(level: int, up: float, warm: float, down: float, cool: float) -> None:
    stages = shorthand(float(level), 30.0, ramp_up=up, warm_up=warm, ramp_down=down, cool_down=cool)
    assert sum(one.duration for one in stages) == 30.0 + up + warm + down + cool
    assert [one.duration for one in stages if one.kind is not None and one.kind.is_measured] == [30.0]
    assert list(stage_faults(stages)) == []


def test_servers_may_come_from_a_configuration(tmp_path: Path) -> None:
    folder = tmp_path / "fleets"
    folder.mkdir()
    configuration = {
        "defaults": {"rest": {"bearer": "${TOKEN}"}},
        "servers": [{"name": "a", "rest": "http://${HOST}/"}],
        "environments": {"staging": {"servers": {"a": {"rest": "http://10.0.0.1/"}}}},
    }
    (folder / "fleet.yaml").write_text(yaml.safe_dump(configuration))
    document = {"servers": "fleets/fleet.yaml", "scenarios": {"x": SHORT}}
    environ = {"TOKEN": "c4nary", "HOST": "127.0.0.1"}
    plan = planned(tmp_path, document, environ)
    assert (plan.servers[0].probes["rest"].url, plan.servers[0].probes["rest"].bearer) == (
        "http://127.0.0.1/",
        "c4nary",
    )
    assert plan.source["servers"] == [{"name": "a", "rest": "http://${HOST}/"}]
    staging = planned(tmp_path, document, environ, environment="staging")
    assert staging.source["servers"] == [{"name": "a", "rest": "http://10.0.0.1/"}]


def test_environment_is_of_a_configuration(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="lists its servers itself, for every environment; leave it out"):
        planned(tmp_path, {**ONE, "scenarios": {"x": SHORT}}, environment="staging")
    assert planned(tmp_path, {**ONE, "scenarios": {"x": SHORT}}, {"MCP_STATUS_ENV": "staging"}).servers


def test_thresholds_are_read_in_the_form_of_k6(tmp_path: Path) -> None:
    thresholds = {
        "http_req_duration{server:a}": [
            "p(95)<500",
            {"threshold": "p(99)<1s", "abortOnFail": True, "delayAbortEval": "10s"},
        ],
        "failed": {"expression": "rate<0.01", "over": "5s"},
        "http_reqs": "rate>100",
    }
    plan = planned(tmp_path, {**ONE, "scenarios": {"x": SHORT}, "thresholds": thresholds})
    found = [(one.metric, one.expression, one.over, one.abort, one.delay) for one in plan.thresholds]
    assert sorted(found) == [
        ("achieved", "rate>100", None, False, 0.0),
        ("failed", "rate<0.01", 5.0, False, 0.0),
        ("response_time{server:a}", "p(95)<500", None, False, 0.0),
        ("response_time{server:a}", "p(99)<1s", None, True, 10.0),
    ]


def test_source_has_no_secret_and_no_variable_filled_in(tmp_path: Path) -> None:
    canary = "c4nary"
    call = {"operation": "mcp_call", "tool": "t", "rate": 1, "duration": "9s"}
    document = {
        "servers": [
            {
                "name": "a",
                "rest": {"url": f"http://me:{canary}@127.0.0.1/x?key={canary}#f", "timeout": "3s"},
                "mcp": {"url": "http://127.0.0.1/${PATH_PART}", "headers": {"X-K": canary}},
            },
            {"name": "b $", "rest": f"http://${{UNSET:-127.0.0.1}}:${{PORT:-80}}/${{K:-{canary}}}"},
        ],
        "defaults": {"mcp": {"api_key": {"value": canary}}},
        "x-note": canary,
        "scenarios": {
            "x": {
                **call,
                "arguments": {"api_token": canary, "key": "${SECRET}", "password": "${SECRET}", "q": ["$$5", 1]},
            }
        },
    }
    plan = planned(tmp_path, document, {"PATH_PART": canary, "SECRET": canary})
    assert canary not in json.dumps(plan.source)
    assert plan.source["servers"] == [
        {"name": "a", "mcp": "http://127.0.0.1/${PATH_PART}", "rest": "http://127.0.0.1/x?key=***"},
        {"name": "b $$", "rest": "http://${UNSET:-127.0.0.1}:${PORT:-80}/${K}"},
    ]
    arguments = plan.source["scenarios"]["x"]["arguments"]
    assert arguments == {"api_token": "***", "key": "${SECRET}", "password": "${SECRET}", "q": ["$$5", 1]}
    assert plan.source["left_out"] == [
        "mcp.api_key",
        "mcp.headers",
        "rest.url (user info, query values or fragment)",
        "arguments that may be secrets",
    ]


@pytest.mark.parametrize("name", SHIPPED)
def test_plan_can_be_played_again_from_its_source(name: str) -> None:
    plan = load_plan(ROOT / "config" / f"{name}.yaml", environ={})
    again = stored_plan(json.loads(json.dumps(plan.source)), {})
    same = ("name", "scenarios", "suite", "stress", "thresholds", "limits", "workers", "seed", "calibrate", "output")
    assert {key: getattr(again, key) for key in same} == {key: getattr(plan, key) for key in same}
    assert again.source == plan.source
    assert [server.name for server in again.servers] == [server.name for server in plan.servers if server.probes]


def test_plan_that_is_played_again_says_what_it_goes_without() -> None:
    source = {**ONE, "name": "n", "scenarios": {"x": SHORT}, "left_out": ["rest.bearer"]}
    assert stored_plan(source, {}).warnings == ("run without what is not stored: rest.bearer",)
    with pytest.raises(ConfigError, match="run 7: servers: no servers"):
        stored_plan({**source, "servers": []}, {}, "run 7")


def test_some_scenarios_of_a_plan_are_chosen_by_name(tmp_path: Path) -> None:
    thresholds = {"failed{scenario:x}": ["rate<1"], "failed{scenario:y}": ["rate<1"], "failed": ["rate<1"]}
    document = {**ONE, "scenarios": {"x": SHORT, "y": SHORT}, "thresholds": thresholds}
    plan = planned(tmp_path, document, scenarios=["y"])
    assert (list(plan.scenarios), list(plan.source["scenarios"])) == (["y"], ["y"])
    assert sorted(one.metric for one in plan.thresholds) == ["failed", "failed{scenario:y}"]
    with pytest.raises(UsageError, match='no scenario "z"; there are: x, y'):
        planned(tmp_path, document, scenarios=["z"])
    with pytest.raises(UsageError, match="has no suite:; leave out --suite"):
        planned(tmp_path, document, suite=True)
    assert planned(tmp_path, {**ONE, "suite": {}}, suite=True).suite == Suite()
    with pytest.raises(UsageError, match="has no scenarios: to choose from"):
        planned(tmp_path, {**ONE, "suite": {}}, scenarios=["z"])


LEGACY = ROOT / "config" / "legacy.yaml"


def test_scenario_of_the_original_keeps_its_users_and_its_time() -> None:
    plan = load_plan(LEGACY, environ={}, scenarios=["heavy_load"])
    scenario = plan.scenarios["heavy_load"]
    assert (scenario.operation, scenario.model) == ("rest", Model.CLOSED)
    assert stages_of(plan, "heavy_load") == [
        ("ramp_up", "ramp_up", 20.0, 50.0),
        ("warm_up", "warm_up", 10.0, 50.0),
        ("hold", "hold", 100.0, 50.0),
        ("cool_down", "cool_down", 5.0, 0.0),
    ]
    assert plan.output == Output(directory="benchmark_results", formats=("json", "csv", "html"), charts=("png", "svg"))
    assert [text for text in plan.warnings if "closed model" in text]


def test_scenarios_of_the_original_are_played_one_after_the_other() -> None:
    plan = load_plan(LEGACY, environ={}, scenarios=["light_load", "normal_load"])
    both = 45.0 + 75.0
    assert {name: one.start_after for name, one in plan.scenarios.items()} == {
        "light_load": 0.0,
        "normal_load": 45.0,
        "light_load-2": both,
        "normal_load-2": both + 45.0,
        "light_load-3": 2 * both,
        "normal_load-3": 2 * both + 45.0,
    }
    assert any("iterations: played 3 times" in text for text in plan.warnings)


def test_grid_of_the_original_becomes_a_suite_of_the_same_length() -> None:
    plan = load_plan(LEGACY, environ={}, suite=True)
    assert plan.suite is not None
    assert plan.suite.concurrent_users == (1, 5, 10, 20, 50, 100)
    assert plan.suite.server_counts == (1,)
    assert (plan.suite.blocks, plan.suite.block_duration, plan.suite.warm_up) == (5, 36.0, 10.0)
    assert any("3 of 60s become 5 blocks of 36s" in text for text in plan.warnings)
    assert any("server_counts: 5, 10, 25, 50 left out" in text for text in plan.warnings)
    assert stored_plan(plan.source, {}).suite == plan.suite


def test_original_needs_a_choice(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match="which load\\? give --suite, or --scenario with one of light_load, normal_load"
    ):
        load_plan(LEGACY, environ={})
    with pytest.raises(UsageError, match='no scenario "heavy"; there are: heavy_load'):
        load_plan(LEGACY, environ={}, scenarios=["heavy"])
    with pytest.raises(UsageError, match="give one of them"):
        load_plan(LEGACY, environ={}, scenarios=["heavy_load"], suite=True)
    short = {"scenarios": {"s": {"concurrent_users": 1, "duration_seconds": 5, "ramp_up_seconds": 5}}}
    with pytest.raises(UsageError, match="5 is the time in all, of which ramp_up_seconds takes 5; write more"):
        planned(tmp_path, {**ONE, "benchmarking": short})


def test_fleet_without_rest_addresses_is_loaded_with_checks(tmp_path: Path) -> None:
    block = {
        "scenarios": {"s": {"concurrent_users": 1, "duration_seconds": 5}},
        "output": {"reports": {"enabled": False}},
    }
    plan = planned(tmp_path, {"servers": [{"name": "a", "mcp": URL}], "benchmarking": block})
    assert plan.scenarios["s"].operation == "mcp_check"
    assert plan.output.formats == ("json", "csv")
    mixed = [{"name": "a", "mcp": URL}, {"name": "b", "rest": URL}]
    warned = planned(tmp_path, {"servers": mixed, "benchmarking": block}).warnings
    assert warned[0] == "1 of 2 servers have no address for rest: left out"


def test_block_may_stand_in_an_environment(tmp_path: Path) -> None:
    block = {"scenarios": {"s": {"concurrent_users": 1, "duration_seconds": 5}}}
    document = {**ONE, "environments": {"staging": {"benchmarking": block}}}
    assert list(planned(tmp_path, document, environment="staging").scenarios) == ["s"]
    with pytest.raises(ConfigError, match="unknown key"):
        planned(tmp_path, document)


def test_address_alone_is_a_plan() -> None:
    plan = quick_plan(URL)
    (scenario,) = plan.scenarios.values()
    assert (plan.name, scenario.operation, scenario.model) == ("127.0.0.1:18201", "rest", Model.OPEN)
    assert stages_of(plan, "quick") == [("hold", "hold", 30.0, 50.0)]
    assert list(quick_plan(URL, "mcp_ping").servers[0].probes) == ["mcp"]
    assert quick_plan(URL, tool="search").scenarios["quick"].operation == "mcp_call"


@pytest.mark.parametrize(
    ("path", "operation"),
    [("health", "rest"), ("", "rest"), ("mcp", "mcp_list"), ("v1/mcp/", "mcp_list"), ("sse", "mcp_check")],
)
def test_operation_goes_by_the_address_where_none_is_named(path: str, operation: str) -> None:
    plan = quick_plan(f"http://127.0.0.1:1/{path}")
    assert plan.scenarios["quick"].operation == operation
    assert [operation in warning for warning in plan.warnings] == [True] * (operation != "rest")


def test_address_alone_needs_neither_the_reader_nor_the_validator() -> None:
    code = f"""
import sys
from checker.settings.loadtests.quick import quick_plan
plan = quick_plan({URL!r}, thresholds=["p(95)<500"])
print([name for name in ("yaml", "pydantic", "numpy") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


QUICK = st.fixed_dictionaries(
    {},
    optional={
        "warm_up": st.integers(0, 3).map(float),
        "ramp_up": st.integers(0, 3).map(float),
        "ramp_down": st.integers(0, 3).map(float),
        "cool_down": st.integers(0, 3).map(float),
        "timeout": st.sampled_from([0.5, 10.0]),
        "max_in_flight": st.sampled_from([1, 1000]),
        "workers": st.sampled_from([None, 2]),
        "seed": st.integers(0, 3),
        "calibrate": st.booleans(),
        "limits": st.sampled_from([None, LoadLimits(), LoadLimits(max_rate=500.0, per_host=500.0)]),
        "thresholds": st.sampled_from([(), ("p(95)<500", "failed{server:127.0.0.1:18201}:rate<1%", "max<1s")]),
        "abort": st.booleans(),
        "tool": st.sampled_from(["", "${x}"]),
        "duration": st.sampled_from([1.0, 2.5]),
    },
)


@settings(max_examples=60, deadline=None)
@given(QUICK, st.sampled_from([{"rate": 20.0, "poisson": True}, {"rate": 0.5}, {"users": 3, "think_time": 0.1}, {}]))
def test_quick_plan_can_be_played_again_from_its_source(options: dict[str, Any], load: dict[str, Any]) -> None:
    plan = quick_plan(URL, **options, **load)
    again = stored_plan(json.loads(json.dumps(plan.source)), {})
    same = ("name", "scenarios", "limits", "workers", "seed", "calibrate", "output")
    assert {key: getattr(again, key) for key in same} == {key: getattr(plan, key) for key in same}
    assert set(again.thresholds) == set(plan.thresholds)
    assert list(all_faults(plan)) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rate": 5, "users": 5}, "--rate and --users are two kinds of load"),
        ({"operation": "mcp_call"}, "--tool: missing; name the tool"),
        ({"operation": "mcp_list", "tool": "x"}, "--tool: mcp_list calls no tool"),
        ({"thresholds": ["p95<5"]}, '--threshold p95<5: "p95<5" is not a condition'),
        ({"thresholds": ["fialed:rate<0.1"]}, 'no metric "fialed"; did you mean "failed"?'),
        ({"rate": 0}, "--duration: nothing is measured"),
        ({"duration": 0.0}, "--duration: nothing is measured"),
        ({"rate": 100_000}, "--max-rate: the stages reach 100000/s"),
        ({"think_time": 1.0}, "--think-time: only users think"),
        ({"users": 3000}, "--max-connections: 3000 users of 127.0.0.1 are more than"),
        ({"timeout": 0.0}, "--timeout: 0 is not a time limit"),
    ],
)
def test_quick_plan_refuses_what_does_not_fit(options: dict[str, Any], said: str) -> None:
    with pytest.raises((UsageError, ConfigError)) as refused:
        quick_plan(URL, **options)
    assert said in str(refused.value)
