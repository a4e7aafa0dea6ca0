"""Messages too large to be read beside other checks: skimmed elsewhere, and kept as text until judged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from msgspec.structs import replace

from checker.contract.canonical_form import Contract, dumps
from checker.model import Reason, Status
from checker.probes import offload
from checker.probes.base import Complaint, ProbeFailure
from checker.probes.mcp.options import Call
from checker.wire import rebuilt


class LargeResult(dict[str, Any]):
    """The small members of a result; the large ones stay in the text in which it arrived."""

    def __init__(self, small: Mapping[str, Any], held: Mapping[str, Any], text: bytes, place: int | None) -> None:
        super().__init__(small)
        self.held = held
        """Name of a member that is not here -> number of its items or None, and True if they all are objects."""
        self.part = (text, place)


@dataclass(slots=True)
class Pages:
    """A list that is kept as the texts of its pages."""

    member: str
    parts: list[tuple[bytes, int | None]]
    count: int = 0

    def add(self, page: list[Any]) -> None:
        """Keep a page that was read; raises ValueError for one that is nested too deeply."""
        self.parts.append((dumps({"result": {self.member: page}}), None))
        self.count += len(page)

    def add_unread(self, result: LargeResult) -> None:
        """Keep a page that was skimmed."""
        self.parts.append(result.part)
        self.count += result.held[self.member][0]

    def __len__(self) -> int:
        return self.count


Items = list[Mapping[str, Any]] | Pages


def parse_large(text: bytes) -> Any:
    """The message or batch; a result with large members is a `LargeResult`."""
    said = _done("skim", [text], len(text), f"a message of {len(text)} bytes")
    if "fault" in said:
        raise ProbeFailure(Reason(said["reason"]), said["fault"])
    messages = []
    for place, (slim, held) in enumerate(said["messages"]):
        message = orjson.loads(slim)
        if held:
            message["result"] = LargeResult(message["result"], held, text, place if said["is_batch"] else None)
        messages.append(message)
    return messages if said["is_batch"] else messages[0]


def judge_offer(
    document: Mapping[str, Any], expected: tuple[str, ...], known: str | None
) -> tuple[Contract | None, list[Complaint]]:
    """The contract, without its text if its digest is the known one, and complaints about it and its tools."""
    lists = {name: list(_parts(name, value)) for name, value in document.items() if isinstance(value, list | Pages)}
    head = orjson.dumps({name: value for name, value in document.items() if name not in lists})
    length = sum(len(text) for parts in lists.values() for text, _ in parts)
    said = _done("judge_offer", [head, lists, expected, known], length, f"what the server lists ({length} bytes)")
    found = complaints(said["complaints"])
    if "fault" in said:
        fault = f"what the server offers is {said['fault']}"
        return None, [*found, Complaint(Status.DEGRADED, Reason.MCP_INVALID_RESULT, fault, "list")]
    return rebuilt(Contract, said["contract"]), found


def tools_named(pages: Pages, names: Iterable[str]) -> dict[str, Mapping[str, Any]]:
    """The tools with these names."""
    length = sum(len(text) for text, _ in pages.parts)
    said = _done("tools_named", [pages.parts, list(names)], length, "the list of tools")
    return {name: orjson.loads(text) for name, text in said.items()}


def judge_call(call: Call, result: LargeResult, duration_us: int) -> list[Complaint]:
    """The conditions that the result of a call does not meet."""
    expected, length = replace(call, arguments={}), len(result.part[0])
    return complaints(_done("judge_call", [result.part, expected, duration_us], length, f"an answer of {length} bytes"))


def complaints(plain: Iterable[Any]) -> list[Complaint]:
    """The complaints from a job's output."""
    return [rebuilt(Complaint, one) for one in plain]


def _parts(member: str, value: list[Any] | Pages) -> Iterator[tuple[bytes, int | None]]:
    if isinstance(value, Pages):
        yield from value.parts
    else:
        yield dumps({"result": {member: value}}), None


def _done(job: str, args: list[Any], length: int, what: str) -> Any:
    try:
        return offload.do(job, args, length)
    except offload.TooMuch as much:
        raise ProbeFailure(Reason.MCP_INVALID_RESULT, f"{what} {much}") from None
