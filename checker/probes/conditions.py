"""Conditions on a reply: their evaluation, and complaints about those that do not hold."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal

from checker.contract.canonical_form import dumps
from checker.model import Reason, Status
from checker.probes import offload
from checker.probes.base import Complaint
from checker.probes.http import each_field
from checker.secrets.excerpts import excerpt
from checker.structs import Options
from checker.units import GIVEN, Holds, Public
from checker.wire import rebuilt

Otherwise = Literal["degraded", "unhealthy"]


class JsonCondition(Options, frozen=True, kw_only=True):
    """A condition on one value of a JSON body; every given test must hold."""

    path: Public
    """JSONPath (RFC 9535) of the value, such as ``$.status``; the condition holds if any match passes."""
    equals: Annotated[Any, Holds.NOTHING, GIVEN] = None
    """The value itself. ``one_of: [null]`` asks for null."""
    one_of: Annotated[tuple[Any, ...] | None, Holds.NOTHING, GIVEN] = None
    """One of these values."""
    matches: Annotated[str | None, Holds.NOTHING, GIVEN] = None
    """Regular expression found anywhere in the value's text."""
    less_than: Annotated[int | float | None, GIVEN] = None
    """The number is smaller than this."""
    greater_than: Annotated[int | float | None, GIVEN] = None
    """The number is larger than this."""
    exists: bool = True
    """True if the path must match at all; false demands that it does not."""
    otherwise: Otherwise = "unhealthy"
    """Status when the condition does not hold."""


def libraries(json: Iterable[JsonCondition], *patterns: Any) -> Iterator[str]:
    """The modules that these conditions need, for patterns and JSONPaths."""
    if json:
        yield "checker.probes.jsonpaths"
    if json or any(patterns):
        yield "checker.probes.patterns"


def status_accepted(status: int, accepted: Iterable[int | str]) -> bool:
    """True if an HTTP status is among codes (``200``), ranges (``200-299``) and classes (``2xx``)."""
    for spelled in accepted:
        low, high = status_range(spelled)
        if low <= status <= high:
            return True
    return False


@lru_cache(maxsize=1024)
def status_range(spelled: int | str) -> tuple[int, int]:
    """First and last status of ``200``, ``200-299`` or ``2xx``; raises ValueError for anything else."""
    text = str(spelled).strip().lower()
    if re.fullmatch(r"[1-5]xx", text):
        return int(text[0]) * 100, int(text[0]) * 100 + 99
    match = re.fullmatch(r"([1-5]\d\d)(?:\s*-\s*([1-5]\d\d))?", text)
    if match is None or (match[2] and match[2] < match[1]):
        raise ValueError("write a status like 200, 200-299 or 2xx")
    return int(match[1]), int(match[2] or match[1])


def headers_unmet(headers: Mapping[str, str], wanted: Mapping[str, str]) -> list[Complaint]:
    """Complaints about headers that are absent, or in none of whose fields the regular expression is found.

    A repeated header is judged field by field, and as the joined list.
    """
    unmet = []
    for name, pattern in wanted.items():
        value = headers.get(name)
        if value is None:
            unmet.append(_complaint(f"header {name} is missing"))
        elif not found_in(pattern, value) and not any(found_in(pattern, one) for one in each_field(headers, name)):
            unmet.append(_complaint(f"header {name} is {excerpt(value, 60)!r}, does not match {pattern!r}"))
    return unmet


def found_in(pattern: str, text: str | bytes) -> bool:
    """True if the regular expression is found in the text; bytes are read as UTF-8."""
    from checker.probes.patterns import compiled  # with its library, which most checks do without

    expression = compiled(pattern)
    if offload.is_elsewhere() and (
        len(text) > offload.LARGE_BYTES or len(text) * expression.steps > offload.LARGE_STEPS
    ):
        return bool(offload.do("find", [pattern, text], len(text)))
    return expression.found_in(text)


def body_unmet(body: bytes, pattern: str | None) -> list[Complaint]:
    """A complaint if the regular expression is not found in the body read as UTF-8."""
    if pattern is None or found_in(pattern, body):
        return []
    return [_complaint(f"body does not match {pattern!r}")]


def json_unmet(body: bytes, wanted: Iterable[JsonCondition]) -> list[Complaint]:
    """Complaints about JSON conditions that do not hold; a single complaint if the body is not JSON."""
    from checker.probes.bodies import TooDeep, TooManyValues, loads, with_whole_numbers

    wanted = tuple(wanted)
    if offload.is_elsewhere() and _may_take_long(body, wanted):
        said = offload.do("judge_json", [body, wanted], len(body))
        return [rebuilt(Complaint, one) for one in said]
    try:
        document = with_whole_numbers(loads(body), body)
    except TooManyValues as error:
        return [Complaint(Status.UNHEALTHY, Reason.BODY_TOO_LARGE, str(error))]
    except TooDeep as error:
        return [_complaint(f"body is {error}")]
    except ValueError:
        return [_complaint(f"body is not JSON: {excerpt(body, 60)!r}" if body else "body is empty, expected JSON")]
    return _unmet_in(document, wanted)


def json_unmet_in(document: Any, wanted: Iterable[JsonCondition]) -> list[Complaint]:
    """Complaints about conditions that do not hold in a parsed document, which is not large."""
    wanted = tuple(wanted)
    if offload.is_elsewhere() and any(_path(condition.path).fan_out for condition in wanted):
        return json_unmet(dumps(document), wanted)
    return _unmet_in(document, wanted)


def _may_take_long(body: bytes, wanted: Iterable[JsonCondition]) -> bool:
    """True if evaluating the conditions on this body may take more than about 20 milliseconds."""
    if offload.is_large(body):
        return True
    values = offload.values_in(body)
    for condition in wanted:
        if fan_out := _path(condition.path).fan_out:
            visits = values**fan_out
            texts = visits * len(body) if condition.matches is not None else 0
            if visits > offload.MOST_VISITS or texts > offload.LARGE_STEPS:
                return True
    return False


def _unmet_in(document: Any, wanted: Iterable[JsonCondition]) -> list[Complaint]:
    return [complaint for condition in wanted if (complaint := _json_unmet(document, condition))]


def too_slow(duration_us: int, limit_s: float, status: Status) -> Complaint:
    """The complaint about a probe that took longer than its limit in seconds."""
    return Complaint(status, Reason.SLOW, f"took {duration_us / 1000:.0f} ms, expected at most {limit_s * 1000:.0f} ms")


def _json_unmet(document: Any, condition: JsonCondition) -> Complaint | None:
    status = Status(condition.otherwise.upper())
    try:
        found = _path(condition.path).find_all(document)
    except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as error:
        return _complaint(f"{condition.path} cannot be evaluated: {excerpt(str(error), 60)}", status)
    if not found:
        return _complaint(f"{condition.path} is missing", status) if condition.exists else None
    if not condition.exists:
        return _complaint(f"{condition.path} is there, expected none", status)
    if any(_passes(value, condition) for value in found):
        return None
    return _complaint(f"{condition.path} is {_shown(found[0])}, expected {_expected(condition)}", status)


def _passes(value: Any, condition: JsonCondition) -> bool:
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else None
    return (
        (condition.equals is None or _same(value, condition.equals))
        and (condition.one_of is None or any(_same(value, one) for one in condition.one_of))
        and (condition.matches is None or found_in(condition.matches, _text(value)))
        and (condition.less_than is None or (number is not None and number < condition.less_than))
        and (condition.greater_than is None or (number is not None and number > condition.greater_than))
    )


def _same(value: Any, wanted: Any) -> bool:
    """Equality by the rules of JSON: true is not 1."""
    return isinstance(value, bool) == isinstance(wanted, bool) and bool(value == wanted)


def _expected(condition: JsonCondition) -> str:
    tests = {
        "": None if condition.equals is None else _shown(condition.equals),
        "one of ": None if condition.one_of is None else ", ".join(_shown(one) for one in condition.one_of),
        "a match of ": None if condition.matches is None else repr(condition.matches),
        "less than ": None if condition.less_than is None else _number(condition.less_than),
        "more than ": None if condition.greater_than is None else _number(condition.greater_than),
    }
    return " and ".join(f"{words}{value}" for words, value in tests.items() if value is not None)


def _number(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:g}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else _json(value).decode()


def _shown(value: Any) -> str:
    return excerpt(_json(value), 60)


def _json(value: Any) -> bytes:
    import orjson

    try:
        return orjson.dumps(value, default=str)
    except TypeError:  # of whole numbers it writes those of 64 bits alone
        import json

        return json.dumps(value, default=str, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _path(path: str) -> Any:
    from checker.probes.jsonpaths import compiled_path  # with its library, which most checks do without

    return compiled_path(path)


def _complaint(detail: str, status: Status = Status.UNHEALTHY) -> Complaint:
    return Complaint(status, Reason.CONDITION_FAILED, detail, "transfer")
