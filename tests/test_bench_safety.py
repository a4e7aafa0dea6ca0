"""Where load may go, and how much of it: decided before anything is sent, for every address that a name has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from checker.errors import UsageError
from checker.loadtest.arrivals import LevelSpan
from checker.loadtest.plan import LoadLimits, Model, Plan, Scenario, Stage, StageKind, Stress, Suite, Threshold
from checker.loadtest.planning.safety import address_fault, approved, looked_up, plain_address
from checker.loadtest.planning.stages import ends_s, lines, longest_measured_s, peak, shorthand
from checker.model import Server
from checker.probes.mcp.options import McpOptions
from checker.probes.oauth.options import OAuth
from checker.probes.rest import RestOptions
from checker.units import Secret

STEADY = Scenario(operation="rest", stages=shorthand(10.0, 10.0))


def rest(url: str, name: str = "a", **options: Any) -> Server:
    return Server(name=name, probes={"rest": RestOptions(url=url, **options)})


def plan(*servers: Server, scenario: Scenario | None = STEADY, **values: Any) -> Plan:
    scenarios = {"x": scenario} if scenario is not None else {}
    return Plan(name="n", servers=servers, scenarios=scenarios, **values)


def lookup(**known: Sequence[str]) -> Callable[[str], Sequence[str]]:
    """Names with ``_`` for dots; an address in numbers is its own."""
    names = {name.replace("_", "."): addresses for name, addresses in known.items()}

    def find(host: str) -> Sequence[str]:
        try:
            return [str(ip_address(host.partition("%")[0]))]
        except ValueError:
            pass
        if host not in names:
            raise OSError(-2, "Name or service not known")
        return names[host]

    return find


NUMBERS = lookup()


def refusal(of: Plan, find: Callable[[str], Sequence[str]] = NUMBERS) -> str:
    with pytest.raises(UsageError) as refused:
        approved(of, find)
    return str(refused.value)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.9.9.9",
        "10.1.2.3",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "198.18.0.1",
        "::1",
        "fd00::1",
        "::ffff:10.0.0.1",
        "::ffff:127.0.0.1",
    ],
)
def test_own_addresses_are_free(address: str) -> None:
    assert address_fault(address) == ("", True)


@pytest.mark.parametrize(
    "address",
    [
        *("8.8.8.8", "172.15.255.255", "172.32.0.1", "192.0.2.1", "192.0.0.8", "100.64.0.1", "100.127.255.255"),
        *("169.254.169.254", "fe80::1%eth0", "fec0::1", "2606:4700::1111", "2001:db8::1", "::127.0.0.1"),
        *("::ffff:8.8.8.8", "::ffff:169.254.169.254", "64:ff9b::a00:1", "2002:a00:1::1"),
        *("fd00:ec2::254", "100.100.100.200", "168.63.129.16", "fd00:42::42"),
    ],
)
def test_other_addresses_need_to_be_allowed(address: str) -> None:
    fault, can_be_allowed = address_fault(address)
    assert fault
    assert can_be_allowed


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "::ffff:0.0.0.0", "224.0.0.1", "ff02::1", "255.255.255.255"])
def test_what_is_no_host_cannot_be_allowed(address: str) -> None:
    fault, can_be_allowed = address_fault(address)
    assert fault
    assert not can_be_allowed
    host = f"[{address}]" if ":" in address else address
    assert fault in refusal(plan(rest(f"http://{host}/"), public_hosts=(address,)))


@given(st.integers(0, 2**32 - 1).map(IPv4Address))
def test_mapped_address_is_judged_as_the_one_it_maps(address: IPv4Address) -> None:
    assert address_fault(f"::ffff:{address}") == address_fault(str(address))


@given(st.integers(0, 2**32 - 1).map(IPv4Address) | st.integers(0, 2**128 - 1).map(IPv6Address))
def test_no_address_of_the_internet_is_free(address: Any) -> None:
    fault, _ = address_fault(str(address))
    assert fault or not plain_address(str(address)).is_global


def test_pins_are_all_addresses_of_every_host_that_load_goes_to() -> None:
    servers = (
        rest("http://Fleet.Example./x"),
        rest("http://127.0.0.1:81/", "b"),
        rest("http://[::1]/", "c"),
        Server(name="d", probes={"mcp": McpOptions(url="http://unused.example/")}),
    )
    found = approved(plan(*servers), lookup(fleet_example=["10.0.0.1", "fd00::1", "10.0.0.1"]))
    assert found == {"fleet.example": ("10.0.0.1", "fd00::1"), "127.0.0.1": ("127.0.0.1",), "::1": ("::1",)}


def test_one_public_address_of_a_name_is_enough_to_refuse_it() -> None:
    find = lookup(mixed_example=["10.0.0.1", "8.8.8.8"])
    assert refusal(plan(rest("http://mixed.example/")), find) == (
        "a: mixed.example (8.8.8.8) is not a private address; if you may put it under load, "
        "give --allow-public mixed.example"
    )
    allowed = plan(rest("http://mixed.example/"), public_hosts=("MIXED.example.",))
    assert approved(allowed, find) == {"mixed.example": ("10.0.0.1", "8.8.8.8")}


def test_allowing_a_name_does_not_allow_its_address_nor_other_names() -> None:
    find = lookup(a_example=["8.8.8.8"], b_a_example=["8.8.8.8"])
    for host in ("8.8.8.8", "b.a.example"):
        assert f"give --allow-public {host}" in refusal(
            plan(rest(f"http://{host}/"), public_hosts=("a.example",)), find
        )


def test_every_spelling_of_an_address_is_judged_by_where_it_leads() -> None:
    """As the system reads it: 0x08080808 and 134744072 are 8.8.8.8."""
    for host in ("0x08080808", "134744072", "010.8.8.8"):
        assert "--allow-public" in refusal(plan(rest(f"http://{host}/")), looked_up)
    assert approved(plan(rest("http://127.1/")), looked_up) == {"127.1": ("127.0.0.1",)}


def test_name_without_an_address_is_told() -> None:
    assert refusal(plan(rest("http://no.example/"))) == (
        "a: no.example has no address: Name or service not known; check its name"
    )
    assert "has no address" in refusal(plan(rest(f"http://{'a' * 64}.example/")), looked_up)


def test_rest_requests_go_through_no_proxy() -> None:
    proxied = rest("http://127.0.0.1/", proxy=Secret("http://me:c4nary@127.0.0.2:3128/"))
    said = refusal(plan(proxied, public_hosts=("127.0.0.1", "127.0.0.2")))
    assert said.endswith("leave proxy: out of the plan")
    assert "c4nary" not in said


def test_proxy_and_host_behind_it_must_both_be_allowed() -> None:
    options = McpOptions(url="http://127.0.0.1/mcp", proxy=Secret("http://me:c4nary@127.0.0.2:3128/"))
    proxied, scenario = Server(name="a", probes={"mcp": options}), replace(STEADY, operation="mcp_ping")
    said = refusal(plan(proxied, scenario=scenario))
    assert said.endswith("reach it directly, or give --allow-public 127.0.0.2 --allow-public 127.0.0.1")
    assert "c4nary" not in said
    assert "give --allow-public 127.0.0.1" in refusal(plan(proxied, scenario=scenario, public_hosts=("127.0.0.2",)))
    found = approved(plan(proxied, scenario=scenario, public_hosts=("127.0.0.1", "127.0.0.2")), lookup())
    assert found == {"127.0.0.1": ("127.0.0.1",), "127.0.0.2": ("127.0.0.2",)}
    named = replace(options, url="http://behind.example/mcp")
    proxied = Server(name="a", probes={"mcp": named})
    found = approved(plan(proxied, scenario=scenario, public_hosts=("behind.example", "127.0.0.2")), lookup())
    assert found == {"behind.example": (), "127.0.0.2": ("127.0.0.2",)}, "the proxy finds the host itself"


def test_load_goes_to_no_authorization_server_but_those_that_the_plan_names() -> None:
    def protected(**named: str) -> Plan:
        oauth = OAuth(client_id="c", client_secret=Secret("c4nary"), **named)
        options = McpOptions(url="http://127.0.0.1/mcp", oauth=oauth)
        return plan(Server(name="a", probes={"mcp": options}), scenario=replace(STEADY, operation="mcp_ping"))

    assert refusal(protected()) == (
        "a: its oauth: names no authorization server, and a load test follows no other; add issuer: or token_url:"
    )
    assert "give --allow-public 8.8.8.8" in refusal(protected(issuer="https://8.8.8.8/"))
    assert "give --allow-public 8.8.4.4" in refusal(protected(issuer="http://127.0.0.2", token_url="https://8.8.4.4/t"))
    assert approved(protected(issuer="http://127.0.0.2"), lookup()) == {
        "127.0.0.1": ("127.0.0.1",),
        "127.0.0.2": ("127.0.0.2",),
    }
    elsewhere = replace(protected(issuer="http://127.0.0.2"), public_hosts=("tokens.example",))
    assert "tokens.example" in approved(elsewhere, lookup(tokens_example=["8.8.8.8"])), "where the metadata may lead"


def test_suite_and_stress_are_judged_by_the_servers_they_use() -> None:
    servers = (rest("http://127.0.0.1/"), rest("http://8.8.8.8/", "b"))
    suite = Suite(operation="rest", server_counts=(1,))
    assert list(approved(plan(*servers, scenario=None, suite=suite), lookup())) == ["127.0.0.1"]
    assert "b: 8.8.8.8" in refusal(plan(*servers, scenario=None, suite=replace(suite, server_counts=(1, 2))))
    assert "b: 8.8.8.8" in refusal(plan(*servers, scenario=None, stress=Stress()))
    assert approved(plan(*servers, scenario=None, stress=Stress(servers=("a",))), lookup())


def test_many_refusals_are_cut_short() -> None:
    servers = [rest(f"http://8.8.8.{number}/", f"s{number}") for number in range(12)]
    assert refusal(plan(*servers)).endswith("\nand 2 more")


def changed(**values: Any) -> Scenario:
    return replace(STEADY, **values)


LOCAL = rest("http://127.0.0.1/")


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (plan(LOCAL, scenario=changed(operation="mcp_call")), "scenarios.x.tool: missing; name the tool"),
        (
            plan(LOCAL, limits=LoadLimits(max_rate=9.0)),
            "limits.max_rate: the stages reach 10/s 0s after the start, above 9/s",
        ),
        (
            plan(LOCAL, limits=LoadLimits(max_total=99)),
            "limits.max_total: the stages make 100 operations in 10s, above 99",
        ),
        (plan(LOCAL, limits=LoadLimits(per_host=9.0)), "limits.per_host: 127.0.0.1 would get 10/s"),
        (plan(LOCAL, scenario=changed(stages=())), "scenarios.x.stages: nothing is measured"),
        (plan(LOCAL, scenario=None), "the plan: nothing to run"),
        (plan(LOCAL, thresholds=(Threshold(metric="x", expression="p(95)<1"),)), 'thresholds.0: no metric "x"'),
    ],
)
def test_plan_is_looked_through_before_anything_is_looked_up(broken: Plan, said: str) -> None:
    def never(host: str) -> Sequence[str]:
        raise AssertionError(f"{host} was looked up")

    assert said in refusal(broken, never)


def test_plan_at_its_limits_is_approved() -> None:
    limits = LoadLimits(max_rate=10.0, max_total=100, per_host=10.0)
    assert approved(plan(LOCAL, limits=limits), lookup())


def test_rate_to_a_host_is_the_share_of_its_servers() -> None:
    servers = (LOCAL, rest("http://127.0.0.1:81/", "b"), rest("http://127.0.0.2/", "c"), rest("http://127.0.0.3/", "d"))
    assert approved(plan(*servers, limits=LoadLimits(per_host=5.0)), lookup())
    assert "127.0.0.1 would get 5/s" in refusal(plan(*servers, limits=LoadLimits(per_host=4.9)))


def test_users_are_no_rate_but_need_connections() -> None:
    users = Scenario(operation="rest", model=Model.CLOSED, stages=shorthand(100.0, 10.0))
    assert approved(plan(LOCAL, scenario=users, limits=LoadLimits(max_rate=1.0, max_total=1)), lookup())
    assert "100 users of 127.0.0.1" in refusal(plan(LOCAL, scenario=users, limits=LoadLimits(max_connections=99)))


def test_server_that_is_started_by_a_command_is_no_target() -> None:
    stdio = Server(name="s", probes={"mcp": McpOptions(command="run")})
    assert "no server of this plan has an address under mcp:" in refusal(
        plan(stdio, scenario=changed(operation="mcp_ping"))
    )


SCENARIOS = st.builds(
    Scenario,
    operation=st.just("rest"),
    start_after=st.sampled_from([0.0, 0.5, 3.0]),
    stages=st.lists(
        st.builds(
            Stage,
            duration=st.sampled_from([0.5, 1.0, 4.0]),
            target=st.integers(0, 50).map(float),
            kind=st.sampled_from([StageKind.RAMP_UP, StageKind.HOLD, StageKind.SPIKE, StageKind.COOL_DOWN]),
            name=st.sampled_from("ab"),
        ),
        min_size=1,
        max_size=5,
    ).map(tuple),
)


def level(some: Sequence[LevelSpan], second: float) -> float:
    return sum(line.level(second) for line in some if line.from_s <= second < line.until_s)


@given(st.lists(SCENARIOS, max_size=4))
def test_no_moment_is_above_the_peak_and_one_reaches_it(scenarios: list[Scenario]) -> None:
    every = [line for scenario in scenarios for line in lines(scenario)]
    highest, at = peak(every)
    end = max(map(ends_s, scenarios), default=0.0)
    moments = [number / 16 for number in range(int(end * 16) + 1)]
    assert all(level(every, moment) <= highest + 1e-6 for moment in moments)
    nearby = (level(every, at), level(every, at - 1e-9))
    assert max(nearby) == pytest.approx(highest, rel=1e-6, abs=1e-6)
    total = sum(line.arrivals for line in every)
    step = 1 / 256
    sampled = sum(level(every, (number + 0.5) * step) * step for number in range(int(end / step)))
    assert total == pytest.approx(sampled, rel=1e-6, abs=1e-6)


@given(st.lists(SCENARIOS, max_size=4), st.none() | st.sampled_from("ab"))
def test_longest_measured_time_is_the_longest_run_of_covered_moments(scenarios: list[Scenario], name: Any) -> None:
    marks: set[int] = set()
    for scenario in scenarios:
        at = scenario.start_after
        for stage in scenario.stages:
            if stage.kind is not None and stage.kind.is_measured and name in (None, stage.name):
                marks |= set(range(int(at * 2), int((at + stage.duration) * 2)))
            at += stage.duration
    longest = here = 0
    for half in range(max(marks, default=0) + 1):
        here = here + 1 if half in marks else 0
        longest = max(longest, here)
    assert longest_measured_s(scenarios, name) == longest / 2
