"""A stdio server that misbehaves as its argument says; without one it is a proper server of the session era."""

import json
import os
import signal
import subprocess
import sys
import time

fault = sys.argv[1] if len(sys.argv) > 1 else ""
tools = [{"name": "add", "description": "Add.", "inputSchema": {"type": "object", "properties": {}}}]
asked: dict[str, object] = {}


def say(message: dict[str, object]) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def ask_everything() -> None:
    """Ask the client what no client without capabilities can do, and read what it says."""
    methods = ("ping", "sampling/createMessage", "roots/list", "elicitation/create")
    for number, method in enumerate(methods):
        say({"id": f"s{number}", "method": method, "params": {}})
    while len(asked) < len(methods):
        answer = json.loads(sys.stdin.readline())
        asked[answer["id"]] = answer.get("result", answer.get("error", {}).get("code"))
    if asked != {"s0": {}, "s1": -32601, "s2": -32601, "s3": -32601}:
        sys.exit(f"wrong answers: {asked}")


def answer(message: dict[str, object]) -> None:
    method, number = message.get("method"), message.get("id")
    if number is None:
        return
    if method == "initialize":
        info = {"protocolVersion": "2025-11-25", "serverInfo": {"name": "faulty", "version": "1"}}
        say({"id": number, "result": {**info, "capabilities": {"tools": {}}}})
    elif method == "ping":
        say({"id": number, "result": {}})
    elif method == "tools/list":
        if fault == "asks":
            ask_everything()
        say({"method": "notifications/message", "params": {"level": "info", "data": "listing"}})
        say({"id": 999_999, "method": "ping"})
        say({"id": number, "result": {"tools": tools}})
    elif method == "tools/call":
        say({"id": number, "result": {"content": [{"type": "text", "text": "3"}]}})
    elif fault != "no_reply_to_discover":
        say({"id": number, "error": {"code": -32601, "message": "no such method"}})


def serve() -> None:
    for line in sys.stdin:
        message = json.loads(line)
        if fault == "crashes_on_discover" and message.get("method") == "server/discover":
            sys.exit(1)
        if fault == "sessionless":
            sessionless(message)
        else:
            answer(message)


def sessionless(message: dict[str, object]) -> None:
    results = {
        "server/discover": {
            "supportedVersions": ["2026-07-28"],
            "capabilities": {"tools": {}},
            "resultType": "complete",
        },
        "tools/list": {"tools": tools, "resultType": "complete"},
    }
    if message["method"] in results:
        say({"id": message["id"], "result": results[str(message["method"])]})
    else:
        data = {"supported": ["2026-07-28"], "requested": "2025-11-25"}
        say({"id": message["id"], "error": {"code": -32022, "message": "unsupported version", "data": data}})


if fault == "silent":
    time.sleep(600)
elif fault == "garbage":
    sys.stdout.write("Welcome to the server!\nListening...\n")
    sys.stdout.flush()
    time.sleep(600)
elif fault == "dies":
    sys.exit(f"cannot open the database\nthe token was {os.environ.get('SECRET_TOKEN')}")
elif fault == "floods":
    while True:
        sys.stdout.write("x" * 65536)
elif fault == "stderr_flood":
    for _ in range(800):
        sys.stderr.write("y" * 65535 + "\n")
elif fault == "noisy":
    sys.stdout.write("Welcome to the server!\n")
    sys.stdout.flush()
elif fault == "forks":
    ignore = "import signal, time; [signal.signal(n, signal.SIG_IGN) for n in (1, 2, 15)]; time.sleep(600)"
    subprocess.Popen([sys.executable, "-c", ignore])
elif fault == "daemonizes":
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(600)
        os._exit(0)
    os.wait()
elif fault == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
serve()
while fault == "stubborn":
    time.sleep(1)
