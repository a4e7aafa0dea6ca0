"""Checks in a network of their own: `unshare -rnm python own_network_program.py SCENARIO FOLDER` prints what is said.

down: loopback alone, and no name server. server: a route to the world and a name server that works, but not for the
names of these servers.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from pathlib import Path

from servers import RestServer

FORMAT_ERROR_FREE = 0x8180
SERVER_FAILURE, NO_SUCH_NAME = 2, 3
AAAA = 28


def _name_server() -> None:
    """Answers for the root, with a failure for one name, never for another, and with an IPv6 address for a third."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 53))
    while True:
        query, sender = sock.recvfrom(4096)
        question = query[12:]
        if b"unanswered" in question:
            continue
        code, records, answer = 0, 0, b""
        if b"fails" in question:
            code = SERVER_FAILURE
        elif b"family" in question:
            if question.endswith(bytes([0, AAAA, 0, 1])):
                records = 1
                answer = b"\xc0\x0c" + bytes([0, AAAA, 0, 1, 0, 0, 0, 60, 0, 16]) + bytes.fromhex("20010db8" + "0" * 24)
        elif question[:1] != b"\0":
            code = NO_SUCH_NAME
        head = query[:2] + (FORMAT_ERROR_FREE | code).to_bytes(2, "big") + bytes([0, 1, 0, records, 0, 0, 0, 0])
        sock.sendto(head + question + answer, sender)


def _rest(name: str, url: str) -> dict[str, object]:
    return {"name": name, "rest": {"url": url, "timeout": "2s"}}


def main(scenario: str, folder: Path) -> None:
    """Set up the network, check, and print status, reason and detail of each server."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    resolvers = folder / "resolv.conf"
    resolvers.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    subprocess.run(["mount", "--bind", resolvers, "/etc/resolv.conf"], check=True)
    with RestServer() as here:
        if scenario == "down":
            servers = [_rest("name", "http://shop.example.test/"), _rest("address", "http://192.0.2.1/")]
            servers.append(_rest("here", here.url()))
        else:
            subprocess.run(["ip", "addr", "add", "10.9.0.1/24", "dev", "lo"], check=True)
            subprocess.run(["ip", "route", "add", "default", "via", "10.9.0.2", "dev", "lo"], check=True)
            threading.Thread(target=_name_server, daemon=True).start()
            servers = [_rest(name, f"http://{name}.test/") for name in ("fails", "unanswered", "missing")]
            servers.append(_rest("other family", "http://family.test/"))
        config = folder / "fleet.yaml"
        config.write_text(json.dumps({"servers": servers}))
        program = [Path(sys.executable).with_name("mcp-status")]
        asked = [config, "--db", folder / "h.db", "--format", "json"]
        done = subprocess.run([*program, "check", *asked], capture_output=True, text=True, check=False)
    found = {one["server"]: [one["status"], one["reason"], one["detail"]] for one in json.loads(done.stdout)["checks"]}
    if scenario == "down":
        question = "select counted from availability where server in ('name', 'address')"
        asked = [question, "--db", folder / "h.db", "--format", "json"]
        rows = json.loads(subprocess.run([*program, "sql", *asked], capture_output=True, check=True).stdout)
        found["counted"] = [row["counted"] for row in rows]
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
