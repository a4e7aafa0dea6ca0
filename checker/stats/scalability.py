"""The universal scalability law (Gunther, Guerrilla Capacity Planning), fitted to levels of a closed-model stress test.

X(N) = lambda N / (1 + sigma (N - 1) + kappa N (N - 1)): throughput of N users, with the throughput of one user alone
(lambda), the share of serial work (sigma, contention), and the cost of keeping all consistent with each other (kappa,
crosstalk).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from msgspec import Struct

FEWEST_LEVELS = 5
"""Three coefficients fit any three points; two more points can contradict the fit."""
LEAST_R_SQUARED = 0.9
_BEYOND = 2.0
"""A peak beyond this multiple of the largest tested number of users is not reported."""

Floats = npt.NDArray[np.float64]


class Usl(Struct, frozen=True):
    """A fit that is good enough to be shown."""

    lambda_per_s: float
    """Operations per second of one user alone."""
    sigma: float
    """Contention, 0 to below 1."""
    kappa: float
    """Crosstalk, 0 or more."""
    r_squared: float
    peak_users: float | None
    """Number of users with the highest throughput; None if it still rises, or peaks far beyond the tested range."""

    def per_s(self, users: float) -> float:
        """Throughput according to the law."""
        return self.lambda_per_s * users / (1 + self.sigma * (users - 1) + self.kappa * users * (users - 1))

    def figures(self) -> Mapping[str, float]:
        """Figures in the form of `checker.loadtest.results.Capacity`."""
        found = {
            "lambda": self.lambda_per_s,
            "sigma": self.sigma,
            "kappa": self.kappa,
            "r_squared": self.r_squared,
        }
        if self.peak_users is not None:
            found |= {"peak_users": self.peak_users, "peak_per_s": self.per_s(self.peak_users)}
        return found


class Fit(Struct, frozen=True):
    """The law, or the reason why it is not to be shown."""

    usl: Usl | None
    refused: str = ""


def fit(points: Sequence[tuple[float, float]]) -> Fit:
    """The law through (users, operations per second), by least squares of the relative errors of N / X.

    N / X is linear in 1, N - 1 and N (N - 1); negative coefficients are set to 0 and the rest fitted again. A fit is
    refused for fewer than five numbers of users, a coefficient without a meaning in the law, or an R-squared below 0.9.
    """
    counted = [(users, per_s) for users, per_s in points if users >= 1 and per_s > 0]
    tried = len({users for users, _ in counted})
    if tried < FEWEST_LEVELS:
        return Fit(None, f"{tried} levels are too few for the scalability law, which needs {FEWEST_LEVELS}")
    users, per_s = (np.array(column, np.float64) for column in zip(*counted, strict=True))
    one, sigma_part, kappa_part = _coefficients(users, per_s)
    if one <= 0:
        return Fit(None, "the scalability law does not fit: one user alone would achieve nothing")
    sigma, kappa = sigma_part / one, kappa_part / one
    if sigma >= 1:
        return Fit(None, f"the scalability law does not fit: it would need a contention of {sigma:.2f}, 1 or more")
    found = Usl(1 / one, sigma, kappa, 0.0, _peak(sigma, kappa, float(users.max())))
    r_squared = _r_squared(per_s, np.array([found.per_s(n) for n in users.tolist()]))
    if r_squared < LEAST_R_SQUARED:
        return Fit(None, f"the scalability law does not fit: R-squared {r_squared:.2f}, below {LEAST_R_SQUARED}")
    return Fit(Usl(1 / one, sigma, kappa, r_squared, found.peak_users))


def _coefficients(users: Floats, per_s: Floats) -> tuple[float, float, float]:
    """Coefficients of N / X in 1, N - 1 and N (N - 1), the last two not below 0: the best fit of any subset."""
    wanted = users / per_s
    # Divided by what is wanted, so that each level's error counts in proportion.
    table = np.column_stack((np.ones_like(users), users - 1, users * (users - 1))) / wanted[:, None]
    best, least = (0.0, 0.0, 0.0), math.inf
    for columns in ([0, 1, 2], [0, 1], [0, 2], [0]):
        found, *_ = np.linalg.lstsq(table[:, columns], np.ones_like(users), rcond=None)
        if np.any(found[1:] < 0):
            continue
        error = float(((table[:, columns] @ found - 1) ** 2).sum())
        if error < least - 1e-15:
            whole = np.zeros(3)
            whole[columns] = found
            best, least = (float(whole[0]), float(whole[1]), float(whole[2])), error
    return best


def _peak(sigma: float, kappa: float, most_users: float) -> float | None:
    peak = math.sqrt((1 - sigma) / kappa) if kappa > 0 else math.inf
    return peak if 1 <= peak <= _BEYOND * most_users else None


def _r_squared(measured: Floats, fitted: Floats) -> float:
    spread = float(((measured - measured.mean()) ** 2).sum())
    return 1 - float(((measured - fitted) ** 2).sum()) / spread if spread else 0.0
