"""A report as one HTML file that needs nothing else."""

from __future__ import annotations

from reports.report import Report


def page(report: Report, images: str = "svg") -> str:
    """The whole page; ``images`` says how charts are drawn in it, as svg or png."""
    raise NotImplementedError
