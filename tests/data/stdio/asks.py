"""Asks the client while it is asked itself: a ping in initialize, the rest in tools/list, which waits for all answers.

The ids of its questions are numbers and texts, and the first is one that the client has most likely used itself.
A client without capabilities answers ping with ``{}`` and the others with -32601; a wrong answer is named in the
error that tools/list then gets.
"""

from speaks import Message, error, messages, result, say, session_era

QUESTIONS: dict[int | str, str] = {
    1: "ping",
    "two": "sampling/createMessage",
    3: "roots/list",
    "4": "elicitation/create",
}
answers: dict[int | str, Message] = {}
waiting: list[int | str] = []


def ask(*numbers: int | str) -> None:
    for number in numbers:
        say({"id": number, "method": QUESTIONS[number], "params": {}})


def faults() -> dict[str, Message]:
    """Method -> what was answered wrongly."""
    wrong = {}
    for number, method in QUESTIONS.items():
        given = answers[number]
        right = given.get("result") == {} if method == "ping" else given.get("error", {}).get("code") == -32601
        if not right or given.get("jsonrpc") != "2.0":
            wrong[method] = given
    return wrong


for message in messages():
    if "method" not in message:
        answers[message["id"]] = message
    elif message["method"] == "initialize":
        ask(1)
        say({"id": message["id"], **(session_era("initialize", message["params"]) or {})})
    elif message["method"] == "tools/list":
        ask("two", 3, "4")
        say({"method": "notifications/message", "params": {"level": "info", "data": "waiting for answers"}})
        waiting.append(message["id"])
    elif "id" in message:
        say({"id": message["id"], **(session_era(message["method"], message.get("params") or {}) or result())})
    if waiting and answers.keys() >= QUESTIONS.keys():
        wrong = faults()
        reply = error(-32000, "wrong answers", **wrong) if wrong else session_era("tools/list", {})
        say({"id": waiting.pop(), **(reply or {})})
