"""The REST probe: one request to a health endpoint, judged by the conditions on its reply."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from msgspec import field
from msgspec.structs import replace

from checker.model import Reason, Status
from checker.probes import conditions
from checker.probes.base import Complaint, Observation, Probe, ProbeFailure, Request, SingleGet, Transport
from checker.probes.bodies import as_utf8, json_as_utf8
from checker.probes.conditions import JsonCondition
from checker.probes.cookies import Cookies
from checker.probes.http import bare_url, credentials, each_field, first_field, http_address, note_refusal, refusal
from checker.probes.offload import TooMuch
from checker.probes.option_validation import Fault, endpoint_faults, jsonpath_fault, regex_fault, value_fault
from checker.probes.options import Endpoint
from checker.probes.redirects import redirected
from checker.secrets.excerpts import excerpt
from checker.structs import Options
from checker.units import Public, Seconds, Secret


class Expect(Options, frozen=True, kw_only=True):
    """Conditions that a healthy reply meets."""

    status: tuple[int | Public, ...] = ("200-299",)
    """Accepted HTTP status codes and ranges, such as ``200`` or ``200-299``."""
    json: tuple[JsonCondition, ...] = ()
    """Conditions on a JSON body."""
    body_regex: Public | None = None
    """Regular expression that must be found in the body."""
    headers: Mapping[str, Public] = field(default_factory=dict)
    """Header name -> regular expression that must be found in its value."""
    max_latency: Seconds | None = None
    """Reply time above which the server is UNHEALTHY."""


_ANY_SUCCESS = Expect()


class RestOptions(Endpoint, frozen=True, kw_only=True):
    """A REST health endpoint."""

    timeout: Seconds = 10.0
    """Wall-clock deadline of one attempt, from name lookup to the last byte."""
    method: Literal["GET", "HEAD", "POST"] = "GET"
    """HTTP method."""
    body: Secret | None = None
    """Body of a POST request."""
    max_redirects: int = 5
    """Redirects followed; 0 takes a redirect as the reply. https to http is never followed."""
    read_body: bool = True
    """Read the reply to its end; false judges only status and headers, for streams that need not end."""
    expect: Expect = _ANY_SUCCESS
    """Conditions on the reply."""


_ASKED_FOR = {"Accept": "application/json, */*;q=0.5", "Accept-Encoding": "gzip, deflate"}
_PLAIN_GET = SingleGet(tuple(_ASKED_FOR.items()), any_success=True)


def single_get(options: RestOptions) -> SingleGet | None:
    """The headers of an attempt that is a GET and nothing else."""
    if options.method != "GET" or options.body is not None or not options.read_body:
        return None
    any_success = options.expect is _ANY_SUCCESS and options.degraded_above is None  # the default is one object
    if options.headers or options.bearer or options.api_key or options.basic or "@" in options.url:
        return SingleGet(tuple({**_ASKED_FOR, **credentials(options)}.items()), any_success)
    return _PLAIN_GET if any_success else _PLAIN_GET._replace(any_success=False)


def attempt(options: RestOptions, transport: Transport, seen: Observation, memory: Mapping[str, str]) -> None:
    """Make the request, follow its redirects, and keep the reply's status, headers and body."""
    asked_for = credentials(options)
    headers = {**_ASKED_FOR, **asked_for}
    body = options.body.encode() if options.body is not None else None
    if body is not None and not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = "application/json"
    request = Request(options.method, bare_url(options.url), headers, body)
    cookies: Cookies | None = None
    while True:
        reply = transport.send(request if cookies is None else _with(cookies, request))
        location = reply.headers.get("location")
        if reply.status not in (301, 302, 303, 307, 308) or location is None or options.max_redirects == 0:
            break
        seen.http_status = reply.status
        if (seen.redirects or 0) >= options.max_redirects:
            raise ProbeFailure(Reason.REDIRECT_BLOCKED, f"more than {options.max_redirects} redirects")
        location = first_field(reply.headers, "location") or location
        if "set-cookie" in reply.headers:
            cookies = cookies or Cookies()
            seen.secrets |= cookies.take(request.url, each_field(reply.headers, "set-cookie"))
        request = redirected(request, reply.status, location, asked_for)
        reply.release()
        seen.redirects = (seen.redirects or 0) + 1
    seen.http_status, seen.headers = reply.status, reply.headers
    note_refusal(reply, seen)
    if not options.read_body:
        reply.release()
        return
    if not _looks_inside(options):
        seen.advice = "a stream that need not end is checked with read_body: false"
    try:
        seen.body = reply.read()
    except ProbeFailure as failure:
        if failure.reason is Reason.BODY_TOO_LARGE and seen.advice:
            failure.detail += f"; {seen.advice}"
        raise


def _with(cookies: Cookies, request: Request) -> Request:
    """The request with the cookies that are set for its address."""
    if (header := cookies.header(request.url, request.headers.get("Cookie"))) is None:
        return request
    return replace(request, headers={**request.headers, "Cookie": header})


def _looks_inside(options: RestOptions) -> bool:
    return bool(options.expect.json) or options.expect.body_regex is not None


def judge(options: RestOptions, seen: Observation) -> list[Complaint]:
    """The conditions that the reply does not meet; a refusal is the only complaint if there is one."""
    status, expect = seen.http_status or 0, options.expect
    if not conditions.status_accepted(status, expect.status):
        if refused := refusal(options, status, seen, excerpt(seen.body, 200)):
            raise refused
        accepted = ", ".join(str(code) for code in expect.status)
        return [Complaint(Status.UNHEALTHY, Reason.HTTP_STATUS, f"HTTP {status}, expected {accepted}", "wait")]
    try:
        found = conditions.headers_unmet(seen.headers, expect.headers) if expect.headers else []
        if expect.body_regex is not None:
            found += conditions.body_unmet(as_utf8(seen.body, seen.headers.get("content-type")), expect.body_regex)
        if expect.json:
            found += conditions.json_unmet(json_as_utf8(seen.body, seen.headers.get("content-type")), expect.json)
    except TooMuch as much:
        raise ProbeFailure(Reason.CONDITION_FAILED, f"body of {len(seen.body)} bytes {much}", "transfer") from None
    if expect.max_latency is not None and seen.duration_us > expect.max_latency * 1e6:
        found.append(conditions.too_slow(seen.duration_us, expect.max_latency, Status.UNHEALTHY))
    return found


def faults(options: RestOptions) -> Iterator[Fault]:
    """Contradictions in the options."""
    yield from endpoint_faults(options)
    expect = options.expect
    if options.body is not None and options.method != "POST":
        yield ("body",), f"{options.method} carries no body; write method: POST, or remove it"
    if not options.read_body and _looks_inside(options):
        yield ("read_body",), "json and body_regex look into the body; remove them, or read_body: false"
    if options.method == "HEAD" and (expect.json or expect.body_regex):
        yield ("expect",), "a reply to HEAD has no body to look at; write method: GET, or remove json and body_regex"
    if options.max_redirects < 0:
        yield ("max_redirects",), "write 0 or more"
    for code in expect.status:
        if fault := value_fault(conditions.status_range, code):
            yield ("expect", "status"), fault
    if fault := regex_fault(expect.body_regex):
        yield ("expect", "body_regex"), fault
    for name, pattern in expect.headers.items():
        if fault := regex_fault(pattern):
            yield ("expect", "headers", name), fault
    for place, condition in enumerate(expect.json):
        if fault := jsonpath_fault(condition.path) or regex_fault(condition.matches):
            yield ("expect", f"json[{place}]"), fault


def libraries(options: RestOptions) -> Iterator[str]:
    """The modules that the conditions need."""
    yield from conditions.libraries(options.expect.json, options.expect.headers, options.expect.body_regex)


def requests(options: RestOptions) -> Iterator[str]:
    """The request, and what may follow it."""
    yield options.method if options.body is None else f"{options.method} with {len(options.body.encode())} bytes"
    if options.max_redirects:
        yield f"up to {options.max_redirects} redirects"


PROBE = Probe(
    options=RestOptions,
    address=http_address,
    attempt=attempt,
    judge=judge,
    unusable=Reason.HTTP_MALFORMED,
    faults=faults,
    takes_usual_addresses=True,
    single_get=single_get,
    libraries=libraries,
    requests=requests,
)
