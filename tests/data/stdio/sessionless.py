"""Speaks 2026-07-28 and nothing older."""

from speaks import INFO, TOOL, Message, called, error, result, speak

VERSION = "2026-07-28"
PREFIX = "io.modelcontextprotocol/"


def answer(method: str, params: Message) -> Message | None:
    meta = params.get("_meta") or {}
    asked = meta.get(f"{PREFIX}protocolVersion") or params.get("protocolVersion")
    if method == "initialize" or asked not in (None, VERSION):
        return error(-32022, "unsupported protocol version", supported=[VERSION], requested=asked)
    if not {f"{PREFIX}protocolVersion", f"{PREFIX}clientCapabilities"} <= meta.keys():
        return error(-32602, "_meta lacks a required key")
    complete: Message = {"resultType": "complete"}
    fresh: Message = {**complete, "ttlMs": 0, "cacheScope": "private"}
    if method == "server/discover":
        about: Message = {"_meta": {f"{PREFIX}serverInfo": INFO}}
        return result(supportedVersions=[VERSION], capabilities={"tools": {}}, **about, **fresh)
    if method == "tools/list":
        return result(tools=[TOOL], **fresh)
    if method == "tools/call":
        return called(params, **complete)
    return error(-32601, f"no method {method}")


speak(answer)
