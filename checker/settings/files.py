"""Options that name a file: made absolute, checked to be readable, and read if the file holds a secret."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from checker.settings.overlay import FILE_SUFFIX, merged
from checker.settings.validate import Source, option_types
from checker.structs import is_options

_FOLDER = "cwd"
"""The one option that names a folder; the folder need not exist before the program starts in it."""


class Files:
    """Resolves the paths in a configuration, relative to its folder, and records what was found there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.seen: dict[str, tuple[str, str | None]] = {}
        """Path before symbolic links are followed -> the path behind them, and the text that was read, if it was."""

    def place(self, named: str) -> Path:
        """The path, absolute and without symbolic links; raises RuntimeError and ValueError for an invalid one."""
        path = (self._folder / Path(named).expanduser()).absolute()
        resolved = path.resolve()
        self.seen.setdefault(str(path), (str(resolved), None))
        return resolved

    def text(self, named: str) -> tuple[str, str]:
        """The path as from `place`, and the content of the file; raises OSError too."""
        path = (self._folder / Path(named).expanduser()).absolute()
        resolved = path.resolve()
        content = resolved.read_text(encoding="utf-8")
        self.seen[str(path)] = str(resolved), content
        return str(resolved), content


def with_files(kind: type[Any], values: Mapping[str, Any], source: Source, files: Files) -> dict[str, Any]:
    """The values with absolute paths; the content of ``x_file`` goes into ``x`` if the options class has an ``x``.

    Unreadable files and values given in both ways are added to the problems.
    """
    found = dict(values)
    if not _may_name_files(values):  # whatever the class: looking into its types takes longer than reading small files
        return found
    if isinstance(folder_to_start_in := values.get(_FOLDER), str):
        found[_FOLDER] = str(files.place(folder_to_start_in))
    for keys, secret in _file_options(cast(Any, kind)):
        block = _inside(values, keys[:-1])
        named = block.get(keys[-1]) if isinstance(block, Mapping) else None
        if not isinstance(named, str):
            continue
        if secret is not None and block.get(secret) is not None:
            source.complain(keys, f"{secret} is set as well; keep one of them")
            continue
        try:
            file, content = files.text(named)
        except (OSError, ValueError, RuntimeError) as error:
            said = _said(error)
            source.complain(keys, f"{source.shown(keys)}: {said}; name a readable file, from the folder of this one")
            continue
        read: dict[str, Any] = {keys[-1]: file} if secret is None else {keys[-1]: file, secret: content.strip()}
        for key in reversed(keys[:-1]):
            read = {key: read}
        found = merged(found, read)
    return found


def _may_name_files(values: Mapping[str, Any]) -> bool:
    return any(
        key.endswith(FILE_SUFFIX) or key == _FOLDER or (isinstance(value, Mapping) and _may_name_files(value))
        for key, value in values.items()
    )


def _said(error: Exception) -> str:
    """The reason why a file could not be read; a path can also contain a NUL, or the home of a nonexistent user."""
    if isinstance(error, OSError):
        return error.strerror or "not readable"
    return "not UTF-8 text" if isinstance(error, UnicodeDecodeError) else "not a path"


def _inside(values: Any, keys: tuple[str, ...]) -> Any:
    for key in keys:
        values = values.get(key) if isinstance(values, Mapping) else None
    return values


@lru_cache(maxsize=64)
def _file_options(kind: Any) -> tuple[tuple[tuple[str, ...], str | None], ...]:
    """The keys of all options that name a file, each with the option that receives the content, if there is one."""
    found: list[tuple[tuple[str, ...], str | None]] = []
    types = option_types(kind)
    for name in kind.__struct_fields__:
        if name.endswith(FILE_SUFFIX):
            found.append(((name,), name.removesuffix(FILE_SUFFIX) if name.removesuffix(FILE_SUFFIX) in types else None))
        elif is_options(types[name]):
            found += [((name, *keys), secret) for keys, secret in _file_options(types[name])]
    return tuple(found)
