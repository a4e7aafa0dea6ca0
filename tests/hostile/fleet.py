"""The process that hostile servers run in: a port for each, and a trap that counts who calls it.

As a program: the folder for certificates, the names of servers and the pause of floods as JSON on its input; prints
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
    _TESTS = Path(__file__).resolve().parent.parent
    sys.path[:0] = [str(_TESTS), str(_TESTS / "support")]

from hostile import http, messages
from hostile.kinds import KINDS, Hostile
from hostile.peer import LONGEST_S, PAUSE_S, Peer
from servers_faults import certificates, self_signed


class HostileFleet:
    """A context manager: the servers of these names, the loud ones and the others in processes of their own."""

    def __init__(self, names: Iterable[str], folder: Path, pause_s: float = PAUSE_S) -> None:
        self.names = list(names)
        self._houses = []
        for number, loud in enumerate((True, False)):
            own = folder / str(number)
            own.mkdir()
            self._houses.append(_House([name for name in self.names if KINDS[name].is_loud is loud], own, pause_s))
        authorities = [(folder / str(number) / "ca.pem").read_text() for number in range(len(self._houses))]
        (folder / "ca.pem").write_text("".join(authorities))

    def __enter__(self) -> HostileFleet:
        return self

    def __exit__(self, *_: object) -> None:
        for house in self._houses:
            house.end()

    def configured(self) -> list[dict[str, Any]]:
        """The servers' entries in a configuration."""
        return [
            KINDS[name].configured(house.ports.get(name, 0), house.trap)
            for house in self._houses
            for name in house.names
        ]

    def caught(self) -> list[str]:
        """What the traps have seen until now: the first bytes of each connection."""
        return [one for house in self._houses for one in house.caught()]


class _House:
    """One process of servers."""

    def __init__(self, names: list[str], folder: Path, pause_s: float) -> None:
        self.names = names
        command = [sys.executable, __file__]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._say([str(folder), names, pause_s])
        said = self._line()
        self.ports: dict[str, int] = said["ports"]
        self.trap: str = said["trap"]

    def end(self) -> None:
        try:
            self._process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def caught(self) -> list[str]:
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


def _serve(
    one: Hostile, listener: socket.socket, trap: str, contexts: Mapping[str, ssl.SSLContext], pause_s: float
) -> None:
    shared: dict[str, Any] = {}

    def connection(accepted: socket.socket) -> None:
        sock = accepted
        with suppress(OSError, ValueError), accepted:  # the client has seen enough, or says what is no request
            sock.settimeout(LONGEST_S)
            if one.certificate is not None:
                sock = contexts[one.certificate].wrap_socket(accepted, server_side=True)
            with sock:
                assert one.behaviour is not None
                one.behaviour(Peer(sock, listener.getsockname()[1], trap, pause_s, shared))

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
    folder, names, pause_s = json.loads(sys.stdin.readline())
    if any(KINDS[name].is_loud for name in names):
        http.prepare()
        messages.prepare()
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
            threading.Thread(target=_serve, args=(one, listener, address, contexts, pause_s), daemon=True).start()
    _tell({"ports": ports, "trap": address})
    while sys.stdin.readline():
        _tell(seen)


def _tell(something: Any) -> None:
    sys.stdout.write(json.dumps(something) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _main()
