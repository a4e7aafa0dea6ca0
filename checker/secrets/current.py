"""Whose secrets are masked now: those of the probe that is being made, or all that the process knows.

A probe says who it is once (`begin`); from then on whatever is shown of a server's words is masked before it is cut
(`checker.probes.text.excerpt`), and so is every line that is logged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

from checker.secrets.declared import declared_secrets
from checker.secrets.redactor import Redactor


class Masking:
    """The secrets of some options, and those that are acquired on the way; nothing is built before it is asked for."""

    __slots__ = ("_count", "_options", "_redactor", "acquired")

    def __init__(self, *options: Any) -> None:
        self._options = options
        self._redactor: Redactor | None = None
        self._count = 0
        self.acquired: set[str] = set()
        """Secrets that are not configured, such as access tokens: masked as soon as they are in here."""

    def __call__(self, text: str) -> str:
        """The text with every secret in it masked."""
        redactor = self._known()
        return redactor(text) if redactor else text

    def json(self, document: str) -> str:
        """A JSON text with the secrets in its values masked, and its structure as it was."""
        redactor = self._known()
        return redactor.json(document) if redactor else document

    def value(self, value: Any) -> Any:
        """A JSON value with the secrets in its texts masked."""
        redactor = self._known()
        return redactor.value(value) if redactor else value

    def suspects(self, text: str) -> bool:
        """Whether there may be a secret in a text: quick, and never wrong where it says no."""
        redactor = self._known()
        return bool(redactor) and redactor.suspects(text)

    def secrets(self) -> tuple[str, ...]:
        """What is masked, for who masks in another process."""
        secrets = dict.fromkeys(secret for one in self._options for secret in _secrets(one))
        return tuple(secrets | dict.fromkeys(self.acquired))

    def _known(self) -> Redactor:
        if self._redactor is None or self._count != len(self.acquired):
            self._count = len(self.acquired)
            self._redactor = _redactor(self.secrets())
        return self._redactor


@lru_cache(maxsize=256)
def _redactor(secrets: tuple[str, ...]) -> Redactor:
    """Servers of a fleet often share their credentials."""
    return Redactor(secrets)


def _secrets(options: Any) -> Iterator[str]:
    return iter((options,)) if isinstance(options, str) else declared_secrets(options)


_NOBODY = Masking()
_current: ContextVar[Masking] = ContextVar("secrets of the probe", default=_NOBODY)
_process: list[Masking] = [_NOBODY]


def begin(options: Any) -> Masking:
    """Mask the secrets of these options from now on, in this greenlet."""
    masking = Masking(options)
    _current.set(masking)
    return masking


def go_on(masking: Masking) -> None:
    """Mask these secrets from now on in a greenlet that a probe has started."""
    _current.set(masking)


def current() -> Masking:
    """What masks for the probe that is being made; nothing is masked outside one."""
    return _current.get()


def acquire(secrets: Iterable[str]) -> None:
    """Mask these as well, in the probe that is being made: they were made or fetched for it."""
    if (masking := _current.get()) is not _NOBODY:
        masking.acquired.update(secrets)


def know(secrets: Iterable[Any]) -> None:
    """Mask these secrets, or those of these options, in what the process itself says: logs and tracebacks."""
    _process[0] = Masking(*secrets)


def masked_for_log(text: str) -> str:
    """The text without the secrets of the probe that is being made and without those that the process knows."""
    return _process[0](_current.get()(text))
