"""What is aimed at: ratios to urllib3, how costs may grow, memory, and what a command may cost from start to end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bench.contestants import CONTESTANTS

Figures = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Budget:
    """A bound, and what was found; ``found`` is not called where one of the contestants was not measured."""

    words: str
    bound: float
    found: Callable[..., float | None]
    contestants: tuple[str, ...]
    form: str = "{:.2f}"
    at_most: bool = True

    def measured(self, figures: Figures) -> str:
        """The figure as text, with a mark where it is beyond the bound."""
        ours = [figures.get(name) for name in self.contestants]
        value = self.found(*ours) if all(ours) else None
        if value is None:
            return "-"
        beyond = value > self.bound if self.at_most else value < self.bound
        return self.form.format(value) + (" (missed)" if beyond else "")

    @property
    def bound_text(self) -> str:
        """The bound as text."""
        return f"{'at most' if self.at_most else 'at least'} {self.form.format(self.bound)}"


def _rate(figure: Mapping[str, Any]) -> float | None:
    return figure["per_cpu_s"]["median"] if figure["per_cpu_s"] else None


def _faster(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> float | None:
    """How many times the rate of the second that of the first is."""
    first, second = _rate(ours), _rate(theirs)
    return first / second if first and second else None


def _ratio(words: str, contestant: str, least: float) -> Budget:
    against = CONTESTANTS[contestant].against
    assert against is not None
    return Budget(f"{words}, of urllib3", least, _faster, (contestant, against), "{:.1f} times", at_most=False)


def _grown(words: str, small: str, large: str, most: float) -> Budget:
    def found(first: Mapping[str, Any], second: Mapping[str, Any]) -> float | None:
        before, after = cost_us(first), cost_us(second)
        return after / before if before and after else None

    return Budget(words, most, found, (small, large), "{:.2f} times")


def cost_us(figure: Mapping[str, Any]) -> float | None:
    """Microseconds that a check costs all processes of a whole run."""
    parts = [figure.get("parent_us"), figure.get("workers_us")]
    return sum(part["median"] for part in parts if part) if all(parts) else None


def _megabytes(words: str, contestant: str, process: str, most: float) -> Budget:
    def found(figure: Mapping[str, Any]) -> float | None:
        peak_bytes: int | None = figure[f"{process}_peak_bytes"]
        return peak_bytes / 1e6 if peak_bytes else None

    return Budget(words, most, found, (contestant,), "{:.0f} MB")


def _command(words: str, contestant: str, most_s: float) -> Budget:
    return Budget(words, most_s, lambda figure: figure["start_cpu_s"]["median"], (contestant,), "{:.2f} s of CPU")


def _parents_share(figure: Mapping[str, Any]) -> float | None:
    if not figure["parent_us"] or not figure["workers_us"]:
        return None
    share: float = figure["parent_us"]["median"] / figure["workers_us"]["median"]
    return share


def _parent_of_two(run: str, contestant: str) -> Budget:
    words = f"CPU of the parent of two workers, {run}, of a worker's"
    return Budget(words, 0.5, _parents_share, (contestant,), "{:.2f} times")


BUDGETS = (
    _ratio("REST, one worker", "checker-rest", 6.0),
    _ratio("REST, from YAML to rows, first run", "checker-rest-run", 3.0),
    _ratio("REST, from YAML to rows, second run on", "checker-rest-again", 4.2),
    _ratio("MCP session, one worker, the same contract everywhere", "checker-mcp", 5.0),
    _ratio("MCP session, one worker, all contracts different", "checker-mcp-different", 4.0),
    _ratio("MCP session, from YAML to rows, first run", "checker-mcp-run", 4.0),
    _ratio("MCP session, from YAML to rows, second run on", "checker-mcp-again", 5.0),
    _ratio("REST, each server on its own origin, one worker", "checker-own", 1.8),
    _ratio("REST, a new connection for each check, one worker", "checker-cold", 4.0),
    _ratio("REST over TLS, a new connection for each check, one worker", "checker-tls", 1.6),
    _grown("CPU of a check at 50,000 servers, of that at 5,000", "fleet-5000", "fleet-50000", 1.15),
    _grown("CPU of a check with a history of 1 GB, of that with none", "history-1MB", "history-1GB", 1.25),
    _grown("CPU of a check with a history of 10 GB, of that with none", "history-1MB", "history-10GB", 1.25),
    _megabytes("memory of the parent at 50,000 servers", "fleet-50000", "parent", 150),
    _megabytes("memory of the worker at 50,000 servers", "fleet-50000", "worker", 80),
    _parent_of_two("first run", "fleet-two-workers"),
    _parent_of_two("second run on", "fleet-two-workers-again"),
    _command("one server from its file to the end, first run", "start-first", 0.6),
    _command("one server from its file to the end, second run", "start-second", 0.5),
    _command("`--help`", "start-help", 0.1),
)
