"""The example of the docs, run as it stands but for the address and the time that it takes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from servers import RestServer

DOC = Path(__file__).resolve().parent.parent / "docs" / "bench-library.md"


def test_the_example_of_the_docs_plays_judges_stores_and_reports(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", DOC.read_text(), re.DOTALL)
    assert len([line for line in code.splitlines() if line]) <= 10
    with RestServer() as server:
        code = code.replace("http://127.0.0.1:8000/health", server.url()).replace("duration=10", "duration=1")
        code = code.replace("rate=200", "rate=50")
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env={"PYTHONPATH": str(DOC.parent.parent), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("passed")
    written = {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()}
    assert {"history.db", "results/report.html", "results/report.json"} <= written
    assert any(name.endswith(".png") for name in written)
