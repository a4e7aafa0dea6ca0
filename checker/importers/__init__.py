"""Import of MCP servers from the files of other programs and from registries; nothing that is read is ever started."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from checker.errors import ConfigError
from checker.importers.entries import Imported

__all__ = ["Imported", "read"]


def read(source: str, *, prefix: str = "") -> Imported:
    """The servers in a file or at an http or https address; the format is detected.

    Every name begins with ``prefix``. Raises ConfigError, whose message is safe to show.
    """
    from checker.importers import fetch
    from checker.importers.entries import Origin, ServerNames
    from checker.importers.formats import converted, is_toml
    from checker.importers.listing import first_page
    from checker.importers.values import parsed

    if fetch.is_address(source):
        url = first_page(source)
        origin = Origin(fetch.shown(url), None)
        text, toml = fetch.address_text(url), is_toml(urlsplit(url).path)
    else:
        url, path = None, Path(source)
        if path.suffix.lower() in (".yaml", ".yml"):
            raise ConfigError(f"{source}: YAML is not imported; a config of ours is checked as it is")
        text, toml = fetch.file_text(path), is_toml(source)
        origin = Origin(source, path.absolute())
    return converted(parsed(text, origin.shown, toml), origin, url, ServerNames(prefix))
