"""Checks side by side in greenlets, as many at once as the order says."""

from __future__ import annotations

from collections.abc import Callable

import gevent
from order import Order


def side_by_side(order: Order, check: Callable[[int], bool]) -> int:
    """How many of the order's checks, called with their number, were good."""
    numbers, good = iter(range(order.checks)), 0

    def work() -> None:
        nonlocal good
        for number in numbers:
            found = check(number)  # apart: others add meanwhile
            good += found

    gevent.joinall([gevent.spawn(work) for _ in range(order.concurrency)], raise_error=True)
    return good
