"""Tasks of servers that are alike come out as they went in, in their order, and their options are sent once."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from builders import server
from checker.messages import AlikeTasks, FromParent, Run, Task
from checker.model import Combination, Priority, Server, Status
from checker.probes import with_options
from checker.probes.mcp.options import McpOptions
from checker.probes.options import Retry
from checker.probes.rest import RestOptions
from checker.run.task_shapes import Shapes
from checker.units import Secret
from checker.wire import frame, packed, reader
from checker.worker.pipe import AlikeServers

URLS = st.sampled_from(["http://a/", "http://b/health?of=all", "http://" + "long." * 60 + "example/"])
REST = st.builds(
    RestOptions,
    url=URLS,
    timeout=st.sampled_from([1.0, 30.0]),
    bearer=st.sampled_from([None, Secret("one"), Secret("two")]),
    proxy=st.none() | URLS.map(Secret),
    retry=st.sampled_from([Retry(), Retry(max_attempts=2)]),
)
MCP = st.builds(McpOptions, url=URLS, timeout=st.sampled_from([1.0, 30.0])) | st.just(McpOptions(command="program"))
SERVERS = st.builds(
    Server,
    name=st.text("abc", min_size=1, max_size=3),
    probes=st.fixed_dictionaries({"rest": REST}) | st.fixed_dictionaries({"mcp": MCP, "rest": REST}),
    weights=st.sampled_from([{}, {"rest": 2.0}]),
    combine=st.sampled_from([Combination(), Combination(all_bad=Status.DEGRADED)]),
    at_once=st.sampled_from([None, 1]),
    group=st.sampled_from(["", "shop"]),
    priority=st.sampled_from(Priority),
)
TASKS = st.builds(
    Task,
    server=SERVERS,
    memory=st.sampled_from([{}, {"rest": {"dns": "1.2.3.4"}}]),
    tries=st.sampled_from([1, 1, 1, 2]),
    share=st.integers(1, 2),
    skip=st.sampled_from([{}, {}, {"rest": "not called"}]),
)


def crossed(sent: list[Task], shapes: Shapes, alike: AlikeServers) -> tuple[list[Task], list[Any]]:
    """What a worker makes of the messages for these tasks, and the messages."""
    tasks, said = [], []
    for message in shapes.messages(sent):
        found = reader(FromParent)(packed(message))
        said.append(found)
        if isinstance(found, AlikeTasks):
            tasks += alike.tasks(found)
        else:
            assert isinstance(found, Run)
            tasks += [replace(task, server=with_options(task.server)) for task in found.tasks]
    return tasks, said


def for_worker(task: Task) -> Task:
    """The task without labels of its server, of which a worker knows nothing."""
    return replace(task, server=replace(task.server, group="", priority=Priority.NORMAL))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.tuples(TASKS, st.integers(1, 4)), max_size=4), max_size=2))
def test_a_worker_gets_every_task_as_it_is_in_its_order(dealt: list[list[tuple[Task, int]]]) -> None:
    shapes, alike, number = Shapes(), AlikeServers(), 0
    for drawn in dealt:
        sent = []
        for task, times in drawn:
            for time in range(times):
                number += 1
                sent.append(replace(task, number=number, server=replace(task.server, name=f"{time} {number}")))
        found, _ = crossed(sent, shapes, alike)
        assert list(map(for_worker, found)) == list(map(for_worker, sent))


def test_options_are_sent_once_and_then_only_what_differs() -> None:
    shapes, alike = Shapes(), AlikeServers()
    options = RestOptions(url="http://h/", timeout=3.0, headers={"X-Key": Secret("value")})
    fleet = [server(f"s{n}", probes={"rest": replace(options, url=f"http://h/{n}")}, group="shop") for n in range(100)]
    tasks = [Task(server=one, memory={}, number=number) for number, one in enumerate(fleet)]
    _, first = crossed(tasks[:50], shapes, alike)
    found, second = crossed(tasks[50:], shapes, alike)
    assert [message.like is not None for message in first + second] == [True, False]
    assert len(frame(second[0])) < 50 * 20, "name, address and number are all that a further server takes"
    assert found[-1].server.probes == fleet[-1].probes
    assert found[-1].server.probes["rest"].headers["X-Key"] == "value"
    assert found[-1].server.group == "", "a worker has no use for labels"
