"""The REST probe: one request to a health endpoint, and the conditions on its reply."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from checker.probes.options import STRICT, Endpoint
from checker.units import Seconds, Secret

Otherwise = Literal["degraded", "unhealthy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonCondition:
    """A demand on one value of a JSON body; every test that is given must hold."""

    __pydantic_config__ = STRICT

    path: str
    """JSONPath (RFC 9535) of the value, such as ``$.status``; the condition holds if any match passes."""
    equals: Any = None
    """The value itself."""
    one_of: tuple[Any, ...] | None = None
    """One of these values."""
    matches: str | None = None
    """Regular expression found anywhere in the value's text."""
    less_than: float | None = None
    """The number is smaller than this."""
    greater_than: float | None = None
    """The number is larger than this."""
    exists: bool = True
    """Whether the path must match at all; false demands that it does not."""
    otherwise: Otherwise = "unhealthy"
    """Status when the condition does not hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expect:
    """What a healthy reply looks like."""

    __pydantic_config__ = STRICT

    status: tuple[int | str, ...] = ("200-299",)
    """Accepted HTTP status codes and ranges, such as ``200`` or ``200-299``."""
    json: tuple[JsonCondition, ...] = ()
    """Conditions on a JSON body."""
    body_regex: str | None = None
    """Regular expression that must be found in the body."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Header name -> regular expression that must be found in its value."""
    max_latency: Seconds | None = None
    """A slower reply is UNHEALTHY."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestOptions(Endpoint):
    """A REST health endpoint."""

    __pydantic_config__ = STRICT

    timeout: Seconds = 10.0
    """Wall-clock deadline of one attempt, from name lookup to the last byte."""
    method: Literal["GET", "HEAD", "POST"] = "GET"
    """HTTP method."""
    body: Secret | None = None
    """Body of a POST request."""
    max_redirects: int = 5
    """Redirects followed; 0 takes a redirect as the reply. https to http is never followed."""
    expect: Expect = Expect()
    """Conditions on the reply."""
