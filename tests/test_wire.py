"""Frames and the records in them: whatever may cross comes out as it went in, and nothing else is taken."""

from __future__ import annotations

import enum
import itertools
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import fields, replace

from builders import batch, check, facts, probe, server
from checker import messages as run_messages
from checker.errors import WorkerStartError
from checker.limits import Limits
from checker.loadtest import messages as load_messages
from checker.loadtest.results import BenchRun, Capacity
from checker.messages import Beat, Hello, Job, JobDone, Run, Task
from checker.model import Batch, Combination, Doubt, Priority, Reason, Server, Status
from checker.probe_kinds import KINDS
from checker.probes import probe_of, with_options
from checker.probes.base import Complaint
from checker.probes.conditions import JsonCondition
from checker.probes.mcp.options import Call, McpOptions
from checker.probes.options import Tls
from checker.probes.rest import Expect, RestOptions
from checker.processes.child import Child, ChildLost
from checker.units import Secret
from checker.wire import PROTOCOL, Frames, frame, messages, packed, reader, rebuilt

SPOKEN = {
    "run, to workers": run_messages.FromParent,
    "run, from workers": run_messages.FromWorker,
    "load test, to workers": load_messages.FromParent,
    "load test, from workers": load_messages.FromWorker,
    "greeting": Hello,
    "job": Job,
    "job done": JobDone,
}
KINDS_OF_MESSAGES = [
    pytest.param(kind, spoken, id=f"{name}: {kind.__name__}")
    for name, spoken in SPOKEN.items()
    for kind in get_args(spoken) or (spoken,)
]
_text = st.text(st.characters(codec="utf-8"), max_size=5)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | _text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=5,
)
_PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    Any: json_values,
    bool: st.booleans(),
    bytes: st.binary(max_size=9),
    float: st.floats(allow_nan=False),
    int: st.integers(-(2**70), 2**70),
    str: _text,
    types.NoneType: st.none(),
}


def anything(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a type that a record may have."""
    origin, inner = get_origin(kind), get_args(kind)
    if kind in _PLAIN:
        return _PLAIN[kind]
    if origin is Annotated:
        return anything(inner[0])
    if origin is Literal:
        return st.sampled_from(inner)
    if origin in (Union, types.UnionType):
        return st.one_of(*map(anything, inner))
    if origin is tuple:
        return st.lists(anything(inner[0]), max_size=2).map(tuple)
    if origin is Sequence:
        return st.lists(anything(inner[0]), max_size=2)
    if origin is Mapping:
        return st.dictionaries(_text, anything(inner[1]), max_size=2)
    if issubclass(kind, enum.Enum):
        return st.sampled_from(kind)
    if issubclass(kind, str):
        return _text.map(kind)
    hints = get_type_hints(kind, include_extras=True)
    given = {name: st.deferred(lambda hint=hints[name]: anything(hint)) for name in kind.__struct_fields__}
    if kind is Server:
        one_each = {name: anything(probe_of(name).options) for name in KINDS}
        given["probes"] = st.fixed_dictionaries({}, optional=one_each)
    return st.builds(kind, **given)


def servers_in(message: Any) -> Iterator[Server]:
    yield from getattr(message, "servers", ())
    yield from (task.server for task in getattr(message, "tasks", ()))
    if (like := getattr(message, "like", None)) is not None:
        yield like


def crossed(message: Any, spoken: Any) -> Any:
    """The message as the other side has it."""
    sent = iter([frame(message), b""])
    (found,) = messages(lambda _most: next(sent), reader(spoken))
    for one in servers_in(found):
        with_options(one)
    return found


@pytest.mark.parametrize(("kind", "spoken"), KINDS_OF_MESSAGES)
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None, max_examples=20)
@given(data=st.data())
def test_every_message_comes_out_as_it_went_in(kind: Any, spoken: Any, data: st.DataObject) -> None:
    sent = data.draw(anything(kind))
    found = crossed(sent, spoken)
    assert found == sent
    assert repr(found) == repr(sent), "also the types, of enums and of secrets"


@pytest.mark.parametrize("kind", [BenchRun, Capacity, Complaint, JsonCondition, Call])
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None, max_examples=20)
@given(data=st.data())
def test_records_inside_of_others_can_be_read_late(kind: Any, data: st.DataObject) -> None:
    sent = data.draw(anything(kind))
    assert rebuilt(kind, reader(Any)(packed(sent))) == sent or kind is BenchRun  # whose sequences may be either


@pytest.mark.parametrize("spoken", SPOKEN.values(), ids=SPOKEN)
@given(st.binary(max_size=60))
def test_no_bytes_do_more_than_be_refused(spoken: Any, body: bytes) -> None:
    try:
        reader(spoken)(body)
    except ValueError as refused:
        assert "not a message of ours" in str(refused)


def wrong(hint: Any) -> Any:
    """A value that is not of this type, if there is one."""
    of_bytes = hint is bytes or bytes in get_args(hint)
    return 7 if of_bytes else b"\xff"


@pytest.mark.parametrize(("kind", "spoken"), KINDS_OF_MESSAGES)
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None, max_examples=3)
@given(data=st.data())
def test_a_value_of_another_type_is_refused(kind: Any, spoken: Any, data: st.DataObject) -> None:
    plain = reader(Any)(packed(data.draw(anything(kind))))
    hints = get_type_hints(kind)
    for at, field in enumerate(fields(kind)):
        if hints[field.name] is Any:
            continue
        odd = dict(plain) if isinstance(plain, dict) else list(plain)
        odd[field.encode_name if isinstance(odd, dict) else len(odd) - len(fields(kind)) + at] = wrong(
            hints[field.name]
        )
        with pytest.raises(ValueError, match="not a message of ours"):
            reader(spoken)(packed(odd))


@pytest.mark.parametrize(("kind", "spoken"), KINDS_OF_MESSAGES)
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None, max_examples=3)
@given(data=st.data())
def test_a_message_that_is_cut_off_is_refused(kind: Any, spoken: Any, data: st.DataObject) -> None:
    body = packed(data.draw(anything(kind)))
    for end in {0, 1, len(body) // 2, len(body) - 1}:
        with pytest.raises(ValueError, match="not a message of ours"):
            reader(spoken)(body[:end])


def test_a_message_that_only_the_other_side_says_is_refused() -> None:
    with pytest.raises(ValueError, match="not a message of ours"):
        reader(run_messages.FromWorker)(packed(run_messages.Drop("no room")))


def test_options_of_another_version_are_refused() -> None:
    probes = {"rest": {"url": "http://h/", "timeout": "soon"}}
    with pytest.raises(ValueError, match=r"Expected `float`, got `str` - at `\$.timeout`"):
        with_options(Server(name="s", probes=probes))


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@given(st.lists(json_values, max_size=4), st.lists(st.integers(0, 500)))
def test_frames_come_out_as_they_went_in_however_the_pipe_cuts_them(sent: list[Any], cuts: list[int]) -> None:
    frames, read = Frames(), reader(Any)
    cut = pieces(b"".join(map(frame, sent)), cuts)
    assert [read(body) for piece in cut for body in frames.feed(piece)] == sent


def test_bytes_that_are_no_frame_are_refused() -> None:
    with pytest.raises(ValueError, match="not a frame"):
        list(Frames().feed(b"Traceback (most recent call last)"))


@pytest.mark.parametrize("said", [{"of": object()}, "\ud800", b"x" * (65 << 20)], ids=["object", "surrogate", "large"])
def test_what_no_frame_can_carry_is_refused_where_it_is_sent(said: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        frame(JobDone(said))


def test_large_numbers_cross_wherever_they_stand() -> None:
    large = 10**30
    condition = JsonCondition(path="$.n", equals=large, one_of=(-large, 1), less_than=large)
    options = RestOptions(url="http://h/", expect=Expect(json=(condition,)))
    called = McpOptions(url="http://h/", calls=(Call(tool="t", arguments={"n": [large, 2**64 - 1]}),))
    one = server(probes={"rest": options, "mcp": called})
    assert crossed(Run((Task(server=one, memory={}),)), run_messages.FromParent).tasks[0].server == one
    stored = batch(check(probes=(probe(http_status=large, retry_after_s=-(2**63) - 1),)))
    assert crossed(stored, run_messages.FromWorker) == stored


def test_options_at_their_defaults_cross_as_nothing() -> None:
    options = RestOptions(url="http://h/", headers={})
    assert reader(Any)(packed(options)) == {"url": "http://h/"}
    assert rebuilt(RestOptions, {"url": "http://h/"}) == options


def test_names_of_a_server_survive_the_wire() -> None:
    one = server("s", weights={"mcp": 2.0}, combine=Combination(one_bad=Status.UNHEALTHY), priority=Priority.HIGH)
    found: Server = reader(Server)(packed(one))
    assert with_options(found) == one
    assert (type(found.combine.one_bad), type(found.priority)) == (Status, Priority)


def test_secrets_stay_secrets_on_the_other_side() -> None:
    given = RestOptions(url="http://h/", bearer=Secret("token-4711"), headers={"X": Secret("token-4712")})
    task = crossed(Run((Task(server=server(probes={"rest": given}), memory={}),)), run_messages.FromParent).tasks[0]
    found = task.server.probes["rest"]
    assert (found.bearer, found.headers["X"]) == ("token-4711", "token-4712")
    limits: Limits = reader(Limits)(packed(Limits(concurrency=1, per_origin=1, token_key=Secret("token-4713"))))
    assert limits.token_key == "token-4713"
    assert "token-47" not in repr((task, limits))


RECORDS = [probe(), probe("mcp"), check(), batch(check()), facts(), server(), RestOptions(url="http://h/"), Beat()]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_records_are_equal_by_value_and_cannot_be_changed(record: Any) -> None:
    same = replace(record)
    assert same == record
    assert same is not record
    for name in record.__struct_fields__:
        with pytest.raises(AttributeError):
            setattr(record, name, None)
    with pytest.raises(AttributeError):
        record.more = 1


def test_records_that_are_keys_can_be_hashed() -> None:
    assert len({facts(), facts(), facts(era="sessionless"), Tls(), Tls(verify=False), Tls()}) == 4
    slow = Complaint(Status.DEGRADED, Reason.SLOW, "slow")
    assert len({slow, replace(slow), replace(slow, detail="slower")}) == 2


@pytest.mark.parametrize("given", [{}, {"url": "http://h/", "colour": "red"}], ids=["too little", "too much"])
def test_records_are_not_built_of_too_little_or_too_much(given: dict[str, str]) -> None:
    with pytest.raises(TypeError):
        RestOptions(**given)  # type: ignore[arg-type]


def test_an_empty_batch_is_small() -> None:
    assert len(frame(Batch())) < 20
    assert crossed(Batch(doubts=(Doubt(server="s", kind="rest", own_fault="route"),)), run_messages.FromWorker).doubts


OTHERS = {
    "older": ({"op": "hello", "pid": 1, "protocol": PROTOCOL - 1}, WorkerStartError, "of another version"),
    "newer": ({"op": "hello", "pid": 1, "protocol": PROTOCOL + 1, "more": []}, WorkerStartError, "of another version"),
    "much newer": (["greetings", 99], WorkerStartError, "of another version"),
    "this, and then another": ({"op": "hello", "pid": 1, "protocol": PROTOCOL}, ChildLost, "not a message of ours"),
}


def listened(child: Child[Any]) -> list[Any]:
    child.greet()
    while not (said := child.receive(0.1, 20.0)):
        pass
    return said


@pytest.mark.parametrize("other", OTHERS)
def test_a_worker_of_another_version_is_told_clearly(
    other: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    greeting, error, words = OTHERS[other]
    said = frame(greeting), frame(["result", 1])
    (tmp_path / "other_worker.py").write_text(
        "import sys, time\n"
        f"sys.stdout.buffer.write({said[0]!r}); sys.stdout.flush(); time.sleep(0.3)\n"
        f"sys.stdout.buffer.write({said[1]!r}); sys.stdout.flush(); sys.stdin.read()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    child = Child[Any](reader(run_messages.FromWorker), "other_worker")
    try:
        with pytest.raises(error, match=words):
            listened(child)
    finally:
        child.end(within_s=0)
