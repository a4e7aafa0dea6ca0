"""A server's offer: each list that the server announces, read to its last page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from checker.contract.canonical_form import dumps
from checker.model import Reason, RemarkName, Status
from checker.probes.base import Complaint, Observation, ProbeFailure
from checker.probes.mcp.jsonrpc import UnreadResult
from checker.probes.mcp.known_contract import EarlierContract, KnownFacts
from checker.probes.mcp.known_replies import Readings
from checker.probes.mcp.large_messages import Items, LargeResult, Pages
from checker.probes.mcp.options import Listing, McpOptions
from checker.probes.mcp.result_types import OTHERS, PAGE, refusals, refused
from checker.probes.mcp.rpc_channel import Answer
from checker.probes.offload import LARGE_BYTES, is_elsewhere
from checker.secrets.excerpts import excerpt

Ask = Callable[[str, Mapping[str, Any], Mapping[str, str]], Answer]
"""Method, parameters and further HTTP headers -> the answer."""

_ACCEPTED: Readings[bool] = Readings(1024 * 1024)
"""Pages in which there is nothing that clients refuse."""
_NO_PAGE = b"none"
"""In place of the pages of a list whose method is unknown; no message is spelled like this."""
_METHOD_UNKNOWN = (-32601, -32602)  # the second from Python SDK 1.x
_OF_THE_SERVER = {Reason.MCP_ERROR, Reason.MCP_INVALID_RESULT, Reason.MCP_PAGINATION}


@dataclass(frozen=True, slots=True)
class _List:
    method: str
    member: str
    """Its member name in the result and in the contract."""
    capability: str


LISTS: dict[Listing, _List] = {
    "tools": _List("tools/list", "tools", "tools"),
    "resources": _List("resources/list", "resources", "resources"),
    "resource_templates": _List("resources/templates/list", "resourceTemplates", "resources"),
    "prompts": _List("prompts/list", "prompts", "prompts"),
}


@dataclass(slots=True)
class Offer:
    """A server's statements about itself and its lists, as far as they were read."""

    protocol_version: str
    server: Mapping[str, str | None]
    capabilities: Mapping[str, Any]
    instructions: str | None
    lists: dict[str, Items] = field(default_factory=dict)
    """Member of the contract -> its items; absent if it is not announced or not requested."""
    complete: bool = True
    sources: list[bytes] | None = None
    """The texts that all of it was read from, each list after its name; None if one of them is not known."""
    is_accepted: bool = True
    """There is nothing on its pages that clients refuse."""
    known: KnownFacts | None = None
    """What is known of it, if it came in an earlier run."""
    unread: list[_Gathered] = field(default_factory=list)
    """Lists of which the last page was not read: it came in an earlier run."""

    def read(self) -> None:
        """Read what was not; raises ProbeFailure."""
        for gathered in self.unread:
            self.lists[gathered.kind.member] = gathered.read()
        self.unread.clear()

    def document(self) -> dict[str, Any]:
        """The contract."""
        return {
            "protocolVersion": self.protocol_version,
            "server": dict(self.server),
            "capabilities": self.capabilities,
            "instructions": self.instructions,
            **self.lists,
        }


def read_lists(
    ask: Ask, offer: Offer, options: McpOptions, seen: Observation, earlier: EarlierContract | None = None
) -> None:
    """Read the lists into the offer; raises ProbeFailure if tools cannot be listed or the connection breaks.

    An announced list whose method is unknown is empty, and remarked: servers with nothing to list often omit it. A list
    that cannot be read, other than tools, is a complaint. Where all of it came in an earlier run (``earlier``), as much
    as possible is left unread.
    """
    if earlier is not None:
        earlier.begin()
    for name, kind in LISTS.items():
        if name not in options.lists and not (name == "tools" and _needs_tools(options)):
            continue
        if kind.capability not in offer.capabilities:
            continue
        sources = [kind.member.encode()]
        try:
            gathered = _gathered(ask, kind, options.max_pages, seen.complaints, sources, earlier)
            offer.lists[kind.member] = gathered.items
            offer.is_accepted = offer.is_accepted and gathered.is_accepted
            if gathered.last is not None:
                offer.unread.append(gathered)
        except _Unknown as unknown:
            if name != "resource_templates":  # which nothing announces
                offer.lists[kind.member] = []
                sources.append(_NO_PAGE)
                seen.remark(RemarkName.LIST_UNKNOWN, f"{kind.capability} are announced, but {unknown.failure.detail}")
        except ProbeFailure as failure:
            if name == "tools" or failure.reason not in _OF_THE_SERVER:
                raise
            offer.complete = False
            seen.complaints.append(Complaint(Status.DEGRADED, failure.reason, failure.detail, "list"))
        if offer.sources is not None:
            offer.sources = [*offer.sources, *sources] if offer.complete and b"" not in sources else None
    if earlier is not None and seen.mcp is not None:
        offer.known = earlier.recognised(offer.sources, options.expected_tools, seen.mcp)
    if offer.unread and (offer.known is None or options.calls):  # a call needs the schema of its tool
        offer.read()


class _Unknown(Exception):
    """The server does not know the method of a list."""

    def __init__(self, failure: ProbeFailure) -> None:
        super().__init__(failure)
        self.failure = failure


def _needs_tools(options: McpOptions) -> bool:
    return bool(options.expected_tools) or any(call.tool for call in options.calls)


class _Gathered:
    """The pages of one list: as parsed values while they are small together, else as texts."""

    def __init__(self, kind: _List) -> None:
        self.kind, self._member, self._length = kind, kind.member, 0
        self.items: Items = []
        self.is_accepted = True
        """There is nothing on its pages that clients refuse."""
        self.last: UnreadResult | None = None
        """The last page, if it is not among the items."""

    def read(self) -> Items:
        """The items, with those of the last page; it came before, and there was no fault in it."""
        if self.last is not None:
            if fault := self.add(self.last.read()):
                raise ProbeFailure(Reason.MCP_INVALID_RESULT, f"{self.kind.method}: {fault}", "list")
            self.last = None
        return self.items

    def add(self, result: Mapping[str, Any]) -> str | None:
        """Take the page in the result; returns its fault, or None."""
        if isinstance(result, LargeResult) and self._member in result.held:
            count, are_objects = result.held[self._member]
            if count is None or not are_objects:
                return f"{self._member} is not a list of objects"
            self._as_texts().add_unread(result)
            return None
        page = result.get(self._member)
        if not isinstance(page, list) or not all(isinstance(item, dict) for item in page):
            return f"{self._member} is not a list of objects"
        try:
            self._add_read(page)
        except ValueError as error:
            return f"{self._member} is {error}"
        return None

    def _add_read(self, page: list[Any]) -> None:
        if isinstance(self.items, list) and self.items and page and is_elsewhere():
            self._length = (self._length or len(dumps(self.items))) + len(dumps(page))
            if self._length > LARGE_BYTES:
                self._as_texts()
        if isinstance(self.items, Pages):
            self.items.add(page)
        else:
            self.items += page

    def _as_texts(self) -> Pages:
        if isinstance(self.items, list):
            read, self.items = self.items, Pages(self._member, [])
            if read:
                self.items.add(read)
        return self.items


def read_all(ask: Ask, kind: _List, max_pages: int) -> Items:
    """All items; raises ProbeFailure for an error, a malformed page, a repeated cursor, or too many pages."""
    return _gathered(ask, kind, max_pages, [], []).items


def _gathered(
    ask: Ask,
    kind: _List,
    max_pages: int,
    complaints: list[Complaint],
    sources: list[bytes],
    earlier: EarlierContract | None = None,
) -> _Gathered:
    """All pages; raises ProbeFailure as `read_all` does.

    Parts of a page that one of the official clients refuses are added to ``complaints``, the texts of the pages to
    ``sources``.
    """
    gathered = _Gathered(kind)
    cursors: set[str] = set()
    params: dict[str, Any] = {}
    for _ in range(max_pages):
        if earlier is not None:
            earlier.expect()
        answer = ask(kind.method, params, {})
        if answer.result is None:
            refused = answer.refused(kind.method)
            raise _Unknown(refused) if answer.error and answer.error.code in _METHOD_UNKNOWN else refused
        sources.append(answer.source)
        if earlier is not None:
            earlier.take(answer.source)
            if isinstance(answer.result, UnreadResult):
                gathered.last = answer.result
                return gathered
        if fault := gathered.add(answer.result):
            raise ProbeFailure(Reason.MCP_INVALID_RESULT, f"{kind.method}: {fault}")
        if found := _refused(answer, kind):
            gathered.is_accepted = False
            complaints += found
        cursor = answer.result.get("nextCursor")
        if cursor is None:  # an empty string does not end the list
            return gathered
        if not isinstance(cursor, str):
            raise ProbeFailure(Reason.MCP_PAGINATION, f"{kind.method}: nextCursor is not a string")
        if cursor in cursors:
            shown = excerpt(cursor, 40)
            raise ProbeFailure(Reason.MCP_PAGINATION, f"{kind.method}: cursor {shown!r} came a second time")
        cursors.add(cursor)
        params = {"cursor": cursor}
    raise ProbeFailure(Reason.MCP_PAGINATION, f"{kind.method}: more than {max_pages} pages")


def _refused(answer: Answer, kind: _List) -> list[Complaint]:
    """Parts of a page that clients refuse; tools are judged together (`checker.probes.mcp.contract`)."""
    page, source = answer.result or {}, (kind.member, answer.source)
    if answer.source and _ACCEPTED.get(source):
        return []
    found = list(refusals(page, PAGE, ""))
    if kind.member in OTHERS and isinstance(items := page.get(kind.member), list):
        for place, item in enumerate(items):
            found += refusals(item, OTHERS[kind.member], f"{kind.member}[{place}]")
    if not found:
        if answer.source:
            _ACCEPTED.note(source, True, len(answer.source))
        return []
    complaints = refused(found, kind.method, "list")
    if kind.member in OTHERS:  # a server whose tools can be used is not down
        return [replace(one, status=Status.DEGRADED) for one in complaints]
    return complaints
