"""Probes that are functions: a user's own check, called for each attempt, with retries, deadlines and breakers.

The keyword parameters of the function are the keys of its kind's block, beside those of every probe.
"""

from __future__ import annotations

import inspect
import logging
import socket
import ssl
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from importlib import import_module
from typing import Annotated, Any, get_type_hints
from urllib.parse import urljoin, urlsplit

import msgspec

from checker.cache_keys import endpoint_key
from checker.errors import UsageError
from checker.model import Reason, Status
from checker.probe_kinds import KINDS, ProbeKind, function_kind, register
from checker.probe_packages import is_kind_name
from checker.probes.base import Address, Complaint, Observation, Probe, ProbeFailure, Request, Transport
from checker.probes.http import bare_url, credentials, origin, shown_endpoint
from checker.probes.option_validation import Fault, endpoint_faults
from checker.probes.options import Endpoint
from checker.secrets.excerpts import excerpt
from checker.units import Holds

log = logging.getLogger(__name__)

CheckFunction = Callable[..., object]
"""A check function: it gets a `ProbeContext`, and the options that it has parameters for."""
_OF_THIS_PROGRAM = ":"
"""The place of a function that a program has registered."""
_functions: dict[str, CheckFunction] = {}
_TAKEN = {
    *("name", "group", "tags", "priority", "objective", "objective_window", "maintenance"),
    *("weights", "combine", "remarks", "at_once"),
}
"""The keys of a server's entry, among which the blocks of kinds stand."""
_OURS = (NameError, ImportError, SyntaxError)
"""Mistakes in the function itself, which say nothing about a server."""


class Degraded(Exception):
    """The server works, but not as it should."""

    def __init__(self, detail: str, reason: Reason | str = Reason.CONDITION_FAILED) -> None:
        super().__init__(detail)
        self.reason = Reason(reason)


class Unhealthy(Exception):
    """The server does not work; any other exception says the same."""

    def __init__(self, detail: str, reason: Reason | str = Reason.CONDITION_FAILED, *, may_pass: bool = True) -> None:
        """``may_pass`` is False where another attempt (``retry``) would find the same."""
        super().__init__(detail)
        self.reason, self.may_pass = Reason(reason), may_pass


class ProbeResponse:
    """A reply to a request of a check function, read as a whole."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON; raises ValueError."""
        import orjson

        return orjson.loads(self.body)


class ProbeContext:
    """What a check function knows of its server, and its means to reach it: counted, timed and limited."""

    def __init__(self, options: Any, transport: Transport, seen: Observation) -> None:
        self._transport, self._seen = transport, seen
        self.options = options
        """All options of the probe: timeout, headers, ..., and the function's own."""
        self.url: str = options.url
        """The address; empty if the entry has none."""

    def request(
        self,
        url: str = "",
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> ProbeResponse:
        """An HTTP exchange with the server, over the worker's kept connections, with the probe's credentials.

        ``url`` may be relative to the probe's address. A path elsewhere gets no credentials.
        """
        whole = urljoin(self.url, url) if url else self.url
        asked = {"Accept": "application/json, */*;q=0.5", "Accept-Encoding": "gzip, deflate"}
        if origin(whole) == origin(self.url):
            asked |= credentials(self.options)
        request = Request(method, bare_url(whole), {**asked, **(headers or {})}, body)
        with self._waiting_for_server():
            reply = self._transport.send(request)
            self._seen.http_status = reply.status
            found = ProbeResponse(reply.status, reply.headers, reply.read())
        self._seen.body = found.body
        return found

    def connect(self, host: str | None = None, port: int | None = None) -> socket.socket:
        """A TCP connection, by default to the probe's address; it is closed when the attempt is over."""
        parts = urlsplit(self.url)
        with self._waiting_for_server():
            return self._transport.connect(host or parts.hostname or "", port or parts.port or 0)

    def timed(self, stage: str) -> AbstractContextManager[None]:
        """Count the time inside as a stage: dns, connect, tls, wait or transfer."""
        return self._transport.timed(stage)

    @contextmanager
    def _waiting_for_server(self) -> Iterator[None]:
        """A deadline that passes inside is told by the step of the exchange; elsewhere it is the function's."""
        told, self._seen.suspicion = self._seen.suspicion, None
        yield
        self._seen.suspicion = told


class FunctionOptions(Endpoint, frozen=True, kw_only=True):
    """A check function: the options of every probe, and the parameters of the function."""

    url: Annotated[str, Holds.ADDRESS] = ""
    """The address that the function checks, if it checks one."""


def register_function(function: CheckFunction, name: str | None = None, label: str = "") -> ProbeKind:
    """Register a check function as a kind of probe of this program; raises UsageError for a name that cannot be.

    The name is that of the function unless another is given. One that is registered again replaces the earlier one.
    """
    name = str(name or getattr(function, "__name__", ""))
    known = KINDS.get(name)
    if not callable(function) or not is_kind_name(name):
        raise UsageError(
            f"{name or function!r} cannot name a kind of probe; name it with small letters and underscores"
        )
    if known is not None and known.function != _OF_THIS_PROGRAM:
        raise UsageError(f'there is a kind of probe "{name}" already; give the function another name')
    if name in _TAKEN:
        raise UsageError(f'"{name}" is a key of every server; give the function another name')
    kind = known or function_kind(name, _OF_THIS_PROGRAM, label)
    options_of_function(name, function)  # whose faults are told where it is registered
    _functions[name] = function
    register(kind)
    _forget()
    return kind


def _forget() -> None:
    from checker.probes import probe_of

    probe_of.cache_clear()


def registered(kind: str) -> tuple[bytes, tuple[str, ...]] | None:
    """A function that this program has registered, pickled, and the folders from which it imports; None for others."""
    function = _functions.get(kind)
    if function is None:
        return None
    import cloudpickle

    try:
        return cloudpickle.dumps(function), tuple(folder for folder in sys.path if folder)
    except Exception as error:  # whatever the function refers to may object in its own way
        raise UsageError(f"the check function {kind} cannot be sent to a worker: {error}") from None


def take(kind: str, pickled: bytes, folders: tuple[str, ...]) -> None:
    """Register a function that was sent; one that cannot be loaded is a probe that says so."""
    import pickle

    sys.path += [folder for folder in folders if folder not in sys.path]
    try:
        function = pickle.loads(pickled)  # noqa: S301 # from the parent process alone, by a pipe
    except Exception as error:  # a module that is not there, or fails
        log.exception("check function %s", kind)
        function = _unloadable(f"{type(error).__name__}: {error}")
    _functions[kind] = function
    register(function_kind(kind, _OF_THIS_PROGRAM))
    _forget()


def _unloadable(why: str) -> CheckFunction:
    def fail(probe: ProbeContext) -> None:
        raise ProbeFailure(Reason.INTERNAL_ERROR, f"the check function could not be loaded: {excerpt(why)}")

    return fail


def probe_of_function(kind: str, place: str) -> Probe:
    """The probe of a kind that is a function; a package may have a whole `Probe` at that place instead."""
    function = _functions.get(kind)
    if function is None:
        module, _, name = place.partition(":")
        try:
            found: Any = import_module(module)
            for part in name.split("."):
                found = getattr(found, part)
        except Exception as error:
            raise UsageError(f"the kind of probe {kind} could not be loaded: {type(error).__name__}: {error}") from None
        if isinstance(found, Probe):
            return found
        function = found
    options = options_of_function(kind, function)
    return Probe(
        options=options,
        address=_address_of(kind),
        attempt=_Attempts(function),
        judge=lambda options, seen: seen.complaints,
        unusable=Reason.CONDITION_FAILED,
        faults=_faults,
        example="",
    )


def options_of_function(kind: str, function: CheckFunction) -> type[FunctionOptions]:
    """The options of a check function: a field for each of its parameters behind the first; raises UsageError."""
    try:
        first, *others = inspect.signature(function).parameters.values()
    except (ValueError, TypeError):
        raise UsageError(
            f"the check function {kind} takes nothing; its first parameter is for a ProbeContext"
        ) from None
    if first.kind in (first.KEYWORD_ONLY, first.VAR_KEYWORD):
        raise UsageError(f"the check function {kind} takes nothing; its first parameter is for a ProbeContext")
    try:
        hints = get_type_hints(function, include_extras=True)
    except Exception:  # names that exist for type checkers alone
        hints = {}
    fields: list[Any] = []
    for one in others:
        if one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD, one.POSITIONAL_ONLY):
            raise UsageError(f"the check function {kind} takes *{one.name}; write out the options that it has")
        if one.name in FunctionOptions.__struct_fields__:
            continue  # such as timeout: it gets the value that every probe has
        hint = hints.get(one.name, Any)
        fields.append((one.name, hint) if one.default is one.empty else (one.name, hint, one.default))
    try:
        made: Any = msgspec.defstruct(
            f"{kind.title().replace('_', '')}Options",
            fields,
            bases=(FunctionOptions,),
            module=__name__,
            namespace={"__doc__": inspect.getdoc(function) or f"The options of {kind}.", "of_function": True},
            frozen=True,
            kw_only=True,
        )
    except (TypeError, ValueError) as error:
        raise UsageError(f"the check function {kind}: {error}") from None
    kind_of_options: type[FunctionOptions] = made
    return kind_of_options


class _Attempts:
    """Calls of a function, one for each attempt, and their outcomes as facts."""

    def __init__(self, function: CheckFunction) -> None:
        self._function = function
        self._names = list(inspect.signature(function).parameters)[1:]

    def __call__(self, options: Any, transport: Transport, seen: Observation, memory: Mapping[str, str]) -> None:
        context = ProbeContext(options, transport, seen)
        late = f"the check function did not return within {options.timeout:g} s"
        seen.suspicion = ProbeFailure(Reason.DEADLINE, late)
        try:
            said = self._function(context, **{name: getattr(options, name) for name in self._names})
        except (Degraded, Unhealthy) as verdict:
            said = verdict
        except ProbeFailure:
            raise
        except _OURS as error:
            raise ProbeFailure(Reason.INTERNAL_ERROR, _told(error)) from None
        except AssertionError as error:
            said = Unhealthy(str(error) or "an assertion does not hold")
        except Exception as error:
            log.info("check function at %s", options.url and shown_endpoint(options.url), exc_info=True)
            said = Unhealthy(_told(error), _reason_of(error))
        _note(said, seen)


def _note(said: object, seen: Observation) -> None:
    if said is None or said is True:
        return
    if isinstance(said, Degraded):
        seen.complaints.append(Complaint(Status.DEGRADED, said.reason, excerpt(str(said))))
    elif isinstance(said, Unhealthy) or said is False:
        verdict = said if isinstance(said, Unhealthy) else Unhealthy("the check function says no")
        seen.may_pass = verdict.may_pass
        raise ProbeFailure(verdict.reason, excerpt(str(verdict)))
    else:
        what = f"the check function returned {type(said).__name__}: none of None, True, False, Degraded, Unhealthy"
        raise ProbeFailure(Reason.INTERNAL_ERROR, what)


def _told(error: BaseException) -> str:
    return excerpt(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)


def _reason_of(error: Exception) -> Reason:
    """The reason that an exception of the standard library stands for."""
    for kind, reason in _REASONS:
        if isinstance(error, kind):
            return reason
    return Reason.CONDITION_FAILED


_REASONS: tuple[tuple[type[Exception], Reason], ...] = (
    (ssl.SSLCertVerificationError, Reason.TLS_VERIFY),
    (ssl.SSLError, Reason.TLS_HANDSHAKE),
    (socket.gaierror, Reason.DNS),
    (ConnectionRefusedError, Reason.CONNECT_REFUSED),
    (TimeoutError, Reason.DEADLINE),
    (ConnectionError, Reason.CONNECTION_CLOSED),
)


@cache
def _address_of(kind: str) -> Callable[[Any], Address]:
    def address(options: Any) -> Address:
        url = options.url
        return Address(endpoint_key(url), shown_endpoint(url), origin(url)) if url else Address(kind, kind, (kind,))

    return address


def _faults(options: Any) -> Iterator[Fault]:
    """Contradictions in what every probe has; an address may be of any scheme."""
    yield from endpoint_faults(options, has_url=False)
    if options.url:
        try:
            is_whole = bool(urlsplit(options.url).scheme) and urlsplit(options.url).port != 0
        except ValueError:
            is_whole = False
        if not is_whole:
            yield ("url",), "not an address; write it like scheme://host:port/path"
