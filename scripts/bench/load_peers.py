"""The load generator, wrk and Locust against nginx on loopback, one after the other."""

from __future__ import annotations

import json
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from checker.loadtest.plan import Arrivals, LoadLimits, Model, Scenario, Stage, StageKind
from checker.loadtest.results import BenchRun
from checker.loadtest.summary import measured
from loads import of, played, rest
from real_servers import Component, NotInstalled, folder_of, install
from servers_faults import closed_port

LOCUST = Component("locust", ("locust==2.47.0",))
RATES = (10_000, 15_000, 20_000, 25_000, 30_000, 40_000, 50_000)
USERS = 32
WRK_CONNECTIONS, WRK_PAUSE_MS = 40, (5, 15)
NGINX = """
worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 300s;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  server {{ listen 127.0.0.1:{port} backlog=8192;
    location /health {{ default_type application/json; return 200 '{{"status":"UP"}}'; }} }}
}}
"""
LOCUSTFILE = """
from locust import FastHttpUser, task, constant
class One(FastHttpUser):
    wait_time = constant(0)
    @task
    def health(self):
        self.client.get("/health")
"""


@contextmanager
def nginx(folder: Path) -> Iterator[str]:
    """Nginx in a process of its own; the address of a small reply."""
    port = closed_port()
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port))
    process = subprocess.Popen(["nginx", "-e", f"{folder}/error.log", "-c", f"{folder}/nginx.conf"])
    try:
        time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/health"
    finally:
        process.terminate()
        process.wait()


def raised(url: str, seconds: float) -> Iterator[int]:
    """Rates, as long as the one before was achieved."""
    for rate in RATES:
        if rate > RATES[0] and not holds(opened(url, rate, min(2, seconds))):
            return
        yield rate


def holds(figures: dict[str, float]) -> bool:
    return figures["achieved_per_s"] >= 0.98 * figures["offered_per_s"]


def opened(url: str, rate: float, seconds: float, arrivals: Arrivals = Arrivals.EVEN) -> dict[str, float]:
    """One worker at a rate in the open model."""
    say(f"open model, {rate:,} /s")
    return figures(run_of(url, rate, seconds, Model.OPEN, arrivals))


def closed(url: str, seconds: float) -> dict[str, float]:
    say(f"closed model, {USERS} users")
    return figures(run_of(url, USERS, seconds, Model.CLOSED))


def run_of(url: str, level: float, seconds: float, model: Model, arrivals: Arrivals = Arrivals.EVEN) -> BenchRun:
    stages = (
        Stage(duration=1, target=level, kind=StageKind.WARM_UP, name="warm-up"),
        Stage(duration=seconds, target=level, kind=StageKind.HOLD, name="hold"),
    )
    scenario = Scenario(operation="rest", model=model, stages=stages, arrivals=arrivals)
    return played([rest("nginx", url)], {"a": scenario}, limits=LoadLimits(max_rate=1_000_000))


def figures(run: BenchRun) -> dict[str, float]:
    """What one run came to, of the stage that is measured."""
    found, hold = measured(run), run.stages[1]
    busy = [
        max(second.cpu_ratio, second.busy_ratio)
        for second in run.health
        if hold.from_s + 1 <= second.at_s <= hold.until_s - 1
    ]
    late = [second.late_p99_us for second in run.health if hold.from_s <= second.at_s <= hold.until_s]
    assert of(run, "a").failed == 0
    response = found.percentiles()
    assert response is not None
    return {
        "offered_per_s": found.offered_per_s,
        "achieved_per_s": found.achieved_per_s,
        "busy_ratio": statistics.mean(busy),
        "per_core_s": found.achieved_per_s / statistics.mean(busy),
        "late_p99_ms": statistics.median(late) / 1000,
        **{f"{name}_ms": getattr(response, name) / 1000 for name in ("p50", "p90", "p99", "max")},
    }


def wrk(url: str, connections: int, seconds: float, script: str | None = None) -> dict[str, float]:
    """Wrk with one thread."""
    say(f"wrk, {connections} connections")
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(2, round(seconds))}s", "--latency", url]
    if script:
        command[1:1] = ["-s", script]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1])  # type: ignore[index]
    total = int(re.search(r"(\d+) requests in", text)[1])  # type: ignore[index]
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    found = {"achieved_per_s": rate, "per_core_s": total / cpu_s}
    for name, value, unit in re.findall(r"\s(50|90|99)%\s+([\d.]+)(us|ms|s)", text):
        found[f"p{name}_ms"] = float(value) * {"us": 0.001, "ms": 1, "s": 1000}[unit]
    return found


def locust(url: str, seconds: float, folder: Path) -> dict[str, float]:
    """Locust's fast client, one process, as many users; its CPU time less that of a run that only starts."""
    say(f"Locust FastHttpUser, {USERS} users")
    try:
        install(LOCUST)
    except NotInstalled as error:
        say(f"left out: {error}")
        return {}
    file = folder / "locustfile.py"
    file.write_text(LOCUSTFILE)
    python = folder_of(LOCUST) / "venv" / "bin" / "python"
    host = url.removesuffix("/health")

    def run(for_s: int) -> tuple[float, float]:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [str(python), "-m", "locust", "-f", str(file), "--headless", "-u", str(USERS), "-r", str(USERS)]
        command += ["-t", f"{for_s}s", "--host", host, "--json", "--reset-stats", "--only-summary", "--skip-log"]
        text = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder).stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        (stats,) = json.loads(text[text.index("[") :])
        return stats["num_requests"], after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    short, long = 2, 2 + max(3, round(seconds))
    (few, few_cpu_s), (many, many_cpu_s) = run(short), run(long)
    return {
        "achieved_per_s": (many - few) / (long - short),
        "per_core_s": (many - few) / (many_cpu_s - few_cpu_s),
    }


def side_by_side(url: str, seconds: float) -> dict[str, Any]:
    """Wrk at the rate that its pauses leave it, and the load generator at exactly that one."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        # Pauses of one length would keep the connections in step, and each would wait for all the others.
        script.write(f"function delay() return math.random({WRK_PAUSE_MS[0]}, {WRK_PAUSE_MS[1]}) end\n")
        script.flush()
        theirs = wrk(url, WRK_CONNECTIONS, seconds, script.name)
    ours = opened(url, round(theirs["achieved_per_s"]), seconds, Arrivals.POISSON)
    return {"wrk": theirs, "load generator": ours}


def say(words: str) -> None:
    """A word on standard error of what is being done."""
    print(f"  {words}", file=sys.stderr, flush=True)
