"""The files of a site: their names, and atomic replacement of each."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import orjson

from checker.errors import UsageError

_LONGEST = 60
_OTHER = re.compile(r"[^a-z0-9]+")
_TAKEN = re.compile(r".*-uptime-30d|.*-[0-9a-f]{10,}")
"""Names that end like a badge or like a digest could collide with the file of another name."""


def slugs(names: Collection[str]) -> Mapping[str, str]:
    """A slug for each name: the name itself if it is a valid slug, else its usable characters.

    A digest of the name is appended if nothing remains, if it was cut, or if it belongs to more than one name, so that
    no name can take the file of another, and the file of a name does not depend on any order.
    """
    kept = {name: _kept(name) for name in names}
    claims: dict[str, list[str]] = {}
    for name, slug in kept.items():
        claims.setdefault(slug, []).append(name)
    return {
        name: slug if _may_have(name, slug, claims[slug]) else _with_digest(name, slug) for name, slug in kept.items()
    }


def _may_have(name: str, slug: str, claims: Collection[str]) -> bool:
    if not slug or _TAKEN.fullmatch(slug):
        return False
    return name == slug or (len(claims) == 1 and len(slug) < _LONGEST)


def _with_digest(name: str, slug: str) -> str:
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{slug}-{digest}" if slug else f"server-{digest}"


def _kept(name: str) -> str:
    """The name in lower case without accents, with hyphens for all other characters."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return _OTHER.sub("-", plain).strip("-")[:_LONGEST].strip("-")


LIST = ".mcp-status-site.json"
"""The list of files created by this command; nothing else in the folder is ever removed."""
_OURS = re.compile(r"index\.html|index\.json|feed\.xml|(servers|badges|incidents)/[a-z0-9-]+\.(html|json|svg)")
FOLDERS = ("servers", "badges", "incidents")


class Folder:
    """The folder of a site while it is being written."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def put(self, name: str, text: str) -> None:
        """Write the text to the file atomically, unless the file already has it."""
        path = self._path / name
        data = text.encode()
        if path.is_file() and not path.is_symlink() and path.read_bytes() == data:
            return
        _replace(path, data)


@contextmanager
def site_folder(path: Path, planned: Collection[str]) -> Iterator[Folder]:
    """The folder for the planned files; older files that are no longer planned are removed when all is written.

    An interrupted write leaves every file complete, either the old or the new one. Raises UsageError if the folder
    cannot be written, or contains files of these names that this command did not create.
    """
    assert all(_OURS.fullmatch(name) for name in planned)  # noqa: S101 # slugs see to it
    try:
        path.mkdir(parents=True, exist_ok=True)
        earlier = _listed(path)
        if earlier is None and (strange := [name for name in sorted(planned) if (path / name).exists()]):
            raise UsageError(
                f"{path}: {strange[0]} is there and was not put there by `report site`; name an empty or a new folder"
            )
        for folder in FOLDERS:
            (path / folder).mkdir(exist_ok=True)
        _list(path, (earlier or set()) | set(planned))
        yield Folder(path)
        for name in (earlier or set()) - set(planned):
            (path / name).unlink(missing_ok=True)
        _list(path, planned)
    except OSError as error:
        raise UsageError(f"{error.filename or path}: {error.strerror}; name a folder that can be written") from None


def _listed(path: Path) -> set[str] | None:
    """The files that this command created, None if there is no list; lines that could lead elsewhere are ignored."""
    try:
        found = orjson.loads((path / LIST).read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):
        return None
    names = found.get("files", []) if isinstance(found, dict) else []
    return {name for name in names if isinstance(name, str) and _OURS.fullmatch(name)}


def _list(path: Path, names: Collection[str]) -> None:
    _replace(path / LIST, orjson.dumps({"files": sorted(names)}, option=orjson.OPT_INDENT_2))


def _replace(path: Path, data: bytes) -> None:
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.write_bytes(data)
        os.replace(fresh, path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
