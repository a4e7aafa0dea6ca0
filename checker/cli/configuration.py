"""The settings of a configuration file: from the cache in the database where nothing has changed, else read anew."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from checker.clock import now_ms

if TYPE_CHECKING:
    from checker.caching import ConfigUse
    from checker.settings.shapes import Settings


@contextmanager
def for_good() -> Iterator[None]:
    """What is made inside stays until the program ends: the collector of cycles never goes through it.

    A fleet of ten thousand servers is a million objects; collections took a third of a run's time.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def configured(path: Path, environment: str | None, database: Path) -> tuple[Settings, ConfigUse | None]:
    """The settings, and how they were come to; raises ConfigError.

    The second is None for a file that cannot be kept, such as a pipe.
    """
    from checker.caching import CONFIG, ConfigUse
    from checker.settings import sealed
    from storage.driver import cache_entry

    key = sealed.cache_key(path, environment)
    kept = cache_entry(database, CONFIG, key, now_ms())
    if kept is not None and (settings := sealed.opened(kept, path, environment)) is not None:
        return settings, ConfigUse(key, None)
    settings, made_of = sealed.loaded(path, environment)
    if made_of is None:
        return settings, None
    return settings, ConfigUse(key, lambda: sealed.seal(settings, made_of))
