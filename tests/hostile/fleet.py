"""The process that hostile servers run in: a port for each, and a trap that counts who calls it.

As a program: the folder for certificates and the names of servers as JSON on standard input; prints
{"ports": {name: port}, "trap": address}, then for each further line what the trap has seen; ends with its input.
"""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hostile.kinds import KINDS, Hostile
from hostile.peer import LONGEST_S, Peer
from servers_faults import certificates, self_signed


class HostileFleet:
    """A context manager: the servers of these names, in a process of their own."""

    def __init__(self, names: Iterable[str], folder: Path) -> None:
        self.names, self.folder = list(names), folder
        command = [sys.executable, __file__]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._say([str(folder), self.names])
        said = self._line()
        self.ports: dict[str, int] = said["ports"]
        self.trap: str = said["trap"]

    def __enter__(self) -> HostileFleet:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def configured(self) -> list[dict[str, Any]]:
        """The servers' entries in a configuration."""
        return [KINDS[name].configured(self.ports.get(name, 0), self.trap) for name in self.names]

    def caught(self) -> list[str]:
        """What the trap has seen until now: the first bytes of each connection."""
        self._say(None)
        seen: list[str] = self._line()
        return seen

    def _say(self, something: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(something) + "\n")
        self._process.stdin.flush()

    def _line(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


def _serve(one: Hostile, listener: socket.socket, trap: str, contexts: Mapping[str, ssl.SSLContext]) -> None:
    shared: dict[str, Any] = {}

    def connection(accepted: socket.socket) -> None:
        sock = accepted
        with suppress(OSError, ValueError), accepted:  # the client has seen enough, or says what is no request
            sock.settimeout(LONGEST_S)
            if one.certificate is not None:
                sock = contexts[one.certificate].wrap_socket(accepted, server_side=True)
            with sock:
                assert one.behaviour is not None
                one.behaviour(Peer(sock, listener.getsockname()[1], trap, shared))

    while True:
        accepted, _ = listener.accept()
        threading.Thread(target=connection, args=(accepted,), daemon=True).start()


def _trapped(listener: socket.socket, seen: list[str]) -> None:
    while True:
        accepted, _ = listener.accept()
        with accepted, suppress(OSError):
            accepted.settimeout(1)
            seen.append(accepted.recv(400).decode("latin-1"))


def _main() -> None:
    folder, names = json.loads(sys.stdin.readline())
    contexts = {**certificates(Path(folder)), "self_signed": self_signed(Path(folder))}
    trap, seen = socket.create_server(("127.0.0.1", 0)), list[str]()
    threading.Thread(target=_trapped, args=(trap, seen), daemon=True).start()
    address = f"http://127.0.0.1:{trap.getsockname()[1]}"
    ports, kept = {}, []  # a port that is bound and not listened at refuses, and nobody else gets it
    for one in (KINDS[name] for name in names):
        if one.way == "stdio":
            continue
        listener = socket.socket()
        kept.append(listener)
        listener.bind(("127.0.0.1", 0))
        ports[one.name] = listener.getsockname()[1]
        if one.behaviour is not None:
            listener.listen(128)
            threading.Thread(target=_serve, args=(one, listener, address, contexts), daemon=True).start()
    _tell({"ports": ports, "trap": address})
    while sys.stdin.readline():
        _tell(seen)


def _tell(something: Any) -> None:
    sys.stdout.write(json.dumps(something) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _main()
