"""Imported first by every Python script here: it goes on in .venv, and says which package is missing in a sentence.

Written for any Python 3: an old one must be able to say that it is too old.
"""

import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Optional, Type  # noqa: UP035 # for an old Python

ROOT = Path(__file__).resolve().parent.parent
_PYTHON = ROOT / ".venv" / "bin" / "python"
_NAME = Path(sys.argv[0]).name
_OURS = ("checker", "storage", "reports")
_MAKE = "run scripts/test once, which makes .venv with every package, or .venv/bin/pip install -e '.[dev]'"


def _is_in_a_venv() -> bool:
    return (Path(sys.executable).parent.parent / "pyvenv.cfg").exists()


def _told(
    kind: Type[BaseException],  # noqa: UP006 # the same
    error: BaseException,
    trace: Optional[TracebackType],  # noqa: UP045 # the same
) -> None:
    """Print the error as Python does, unless it is a package that is not installed."""
    name = (getattr(error, "name", None) or "").partition(".")[0]
    if not isinstance(error, ModuleNotFoundError) or name in ("", *_OURS):
        sys.__excepthook__(kind, error, trace)
        return
    sys.stderr.write("{}: {} is not installed for {}; {}\n".format(_NAME, name, sys.executable, _MAKE))  # noqa: UP032 # the same


if not _is_in_a_venv() and _PYTHON.exists():
    os.execv(str(_PYTHON), [str(_PYTHON), *sys.argv])
if sys.version_info < (3, 11):  # noqa: UP036 # the same
    sys.exit("{}: Python 3.11 or newer is needed, this is {}; {}".format(_NAME, sys.version.split()[0], _MAKE))  # noqa: UP032 # the same
sys.path.insert(1, str(ROOT))
sys.excepthook = _told
