"""Kinds of probes that installed packages bring: entry points of the group ``mcp_status.probes``.

Their names and places are found without importing anything of theirs. Reading the entry points of every distribution
takes longer than a small check, so what was found is kept, for as long as none of the folders of packages changes.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from zlib import crc32

import msgspec

GROUP = "mcp_status.probes"
VARIABLE = "MCP_STATUS_PROBE_PACKAGES"
"""Environment variable by which a process tells those that it starts, so that they need not look."""
Found = tuple[tuple[str, str], ...]
"""Name of a kind, and the place of its function or probe as ``package.module:name``; in the order of names."""

_READER = msgspec.json.Decoder(Found)
_KEPT = msgspec.json.Decoder(tuple[list[tuple[str, int]], Found])
_SETTLED_S = 2.0
"""A folder that changed so recently may change again within the same tick of its clock."""


def installed() -> Found:
    """The kinds that packages bring; none where the entry points cannot be read."""
    told = os.environ.get(VARIABLE)
    if told is not None:
        with suppress(msgspec.DecodeError):
            return _READER.decode(told)
    folders = _folders()
    kept = _kept_in(folders)
    with suppress(OSError, msgspec.DecodeError):
        before, found = _KEPT.decode(kept.read_bytes())
        if before == folders:
            return found
    found = _looked_for(folders)
    _keep(kept, folders, found)
    return found


def as_variable() -> str:
    """The value of `VARIABLE` for the processes that this one starts."""
    return os.environ.get(VARIABLE) or msgspec.json.encode(installed()).decode()


def _folders() -> list[tuple[str, int]]:
    """The folders that may hold installed packages, each with the time of its last change."""
    standard = os.path.dirname(os.__file__)
    found = []
    for folder in dict.fromkeys(sys.path):
        if folder and folder != os.getcwd() and folder != standard and not folder.endswith("lib-dynload"):
            with suppress(OSError):
                state = os.stat(folder)
                found.append((folder, state.st_mtime_ns))
    return found


def _kept_in(folders: list[tuple[str, int]]) -> Path:
    """The file for these folders; each environment has its own."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    number = crc32("\0".join(folder for folder, _ in folders).encode("utf-8", "surrogateescape"))
    return Path(base, "mcp-status-check", f"probe-packages-{number:08x}.json")


def _keep(kept: Path, folders: list[tuple[str, int]], found: Found) -> None:
    newest_s = max((changed / 1e9 for _, changed in folders), default=0.0)
    if time.time() - newest_s < _SETTLED_S:
        return
    with suppress(OSError, UnicodeEncodeError):  # a machine without a place for it looks each time
        kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        whole = kept.with_suffix(f".{os.getpid()}")
        whole.write_bytes(msgspec.json.encode((folders, found)))
        whole.replace(kept)


def _looked_for(folders: list[tuple[str, int]]) -> Found:
    """The kinds by all entry points; the usual answer, none, without the machinery that reads them in full."""
    if not any(map(_speaks_of_probes, folders)):
        return ()
    from importlib.metadata import entry_points

    found: dict[str, Any] = {one.name: one.value for one in entry_points(group=GROUP)}
    return tuple(sorted((name, value) for name, value in found.items() if is_kind_name(name) and ":" in value))


def _speaks_of_probes(folder: tuple[str, int]) -> bool:
    try:
        with os.scandir(folder[0]) as entries:
            for entry in entries:
                if entry.name.endswith((".dist-info", ".egg-info")):
                    with suppress(OSError), open(os.path.join(entry.path, "entry_points.txt"), "rb") as points:
                        if GROUP.encode() in points.read():
                            return True
    except OSError:
        return False
    return False


def is_kind_name(name: str) -> bool:
    """True for a name that a kind of probe may have: a small letter, then small letters, digits and underscores."""
    return name.isascii() and name.isidentifier() and name.islower() and not name.startswith("_")
