"""Loaded by the workers of tests/test_quarantine.py: signals that do to a worker what a server's bytes might."""

import signal

_kept = []


def _spin(*_: object) -> None:
    while True:
        pass


def _swell(*_: object) -> None:
    while True:
        _kept.append(b"x" * 50_000_000)


def _grow(*_: object) -> None:
    _kept.append(b"x" * 150_000_000)


signal.signal(signal.SIGUSR1, _spin)
signal.signal(signal.SIGUSR2, _swell)
signal.signal(signal.SIGWINCH, _grow)
