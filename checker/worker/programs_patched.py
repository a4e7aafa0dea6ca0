"""Waiting for a program yields to other greenlets from the first program on: few workers start any."""

from __future__ import annotations

from gevent import monkey


def patch_subprocess() -> None:
    """Patch what starts programs and waits for them, if this process is patched for greenlets and it is not yet.

    It takes a while, so the start of a worker leaves it to who starts the first program.
    """
    if monkey.is_module_patched("os") and not monkey.is_module_patched("subprocess"):
        monkey.patch_signal()  # by which the end of a program is told
        monkey.patch_subprocess()
