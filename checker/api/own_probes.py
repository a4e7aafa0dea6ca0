"""Registration of a check function as a kind of probe."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, overload

from checker.probes.functions import CheckFunction, register_function

Function = TypeVar("Function", bound=CheckFunction)


@overload
def probe(function: Function) -> Function: ...
@overload
def probe(*, name: str | None = None, label: str = "") -> Callable[[Function], Function]: ...
def probe(
    function: Function | None = None, *, name: str | None = None, label: str = ""
) -> Function | Callable[[Function], Function]:
    """Register a check function as a kind of probe, under its name or another; a decorator.

    The function is called by the workers, once for each attempt, with a `ProbeContext`, and with those options of the
    server's block that it has parameters for. Returning None or True is HEALTHY; an exception is UNHEALTHY, and so is
    False; `Degraded` and `Unhealthy`, raised or returned, say more. Raises UsageError for a name that cannot be one.
    """
    if function is not None:
        register_function(function, name, label)
        return function

    def decorate(function: Function) -> Function:
        register_function(function, name, label)
        return function

    return decorate
