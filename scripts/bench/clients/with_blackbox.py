"""Checks through a blackbox_exporter that is started here; only its own CPU and memory are reported."""

import asyncio
import os
import resource
import socket
import subprocess
import sys
from pathlib import Path

import aiohttp
from order import Order, exit_when_terminated, peak_bytes_of, read_order, report

PROGRAM = "prometheus-blackbox-exporter"
CONFIG = "modules: {http_2xx: {prober: http, timeout: 30s, http: {preferred_ip_protocol: ip4}}}\n"
START_S = 10.0


def free_port() -> int:
    """A port below the range of client ports; nobody listens there now."""
    for port in range(20_000 + os.getpid() % 11_000, 31_000):
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
    raise SystemExit("no free port")


async def answers(port: int) -> None:
    """Wait until the exporter listens."""
    async with asyncio.timeout(START_S):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                return writer.close()


async def drive(order: Order, port: int) -> int:
    """How many probes the exporter found successful."""
    await answers(port)
    numbers, good = iter(range(order.checks)), 0

    async def work() -> None:
        nonlocal good
        for number in numbers:
            query = {"target": order.url(number), "module": "http_2xx"}
            async with session.get(f"http://127.0.0.1:{port}/probe", params=query) as response:
                text = await response.text()
                good += "\nprobe_success 1" in text

    connector = aiohttp.TCPConnector(limit=order.concurrency)
    async with aiohttp.ClientSession(connector=connector) as session:
        await asyncio.gather(*(work() for _ in range(order.concurrency)))
    return good


def versions() -> dict[str, str]:
    """The exporter's version, as it says it."""
    done = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=False)
    return {"blackbox_exporter": (done.stdout or done.stderr).partition("(")[0].rpartition("version ")[2].strip()}


def main(order: Order) -> None:
    exit_when_terminated()
    config, port = Path(order.folder) / "blackbox.yml", free_port()
    config.write_text(CONFIG)
    command = [PROGRAM, f"--config.file={config}", f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
    exporter = subprocess.Popen(command, stdout=sys.stderr)
    try:
        good = asyncio.run(drive(order, port))
        peak_bytes = peak_bytes_of(exporter.pid)
    finally:
        exporter.terminate()
        exporter.wait()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    report(good, programs=versions(), cpu_s=used.ru_utime + used.ru_stime, peak_bytes=peak_bytes)


if __name__ == "__main__":
    main(read_order())
