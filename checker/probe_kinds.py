"""The registry of probe kinds: their names, timed stages and command-line options; pure data.

Settings, workers, storage, reports, the site, the command line and the published schemas read `KINDS`, and know no
other kinds. The behaviour of a kind is in the module that it names, which is imported on first use
(`checker.probes.probe_of`): reading the registry imports no probe.

Installed packages bring further kinds by an entry point of the group ``mcp_status.probes`` (`checker.probe_packages`),
of which the name and the function alone are read here; programs register kinds for themselves (`register`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct, field

from checker.probe_packages import installed


class ProbeStage(Struct, frozen=True):
    """A timed stage of a probe: a column of `probe_history`, a row of `report latency --by stage`."""

    name: str
    """Letters only; the same name in two kinds is the same stage."""
    words: str
    """A description in a few words; its unit is added on display."""


class Flag(Struct, frozen=True):
    """An option of `mcp-status check` that names one server without a configuration file."""

    name: str
    """Its name without dashes."""
    metavar: str
    help: str
    key: str = "url"
    """The key of the kind's options that is given."""
    is_command: bool = False
    """The value is split like a shell command: the program for ``key``, and the rest for ``args``."""


class LoadOperation(Struct, frozen=True):
    """The operation of one load-test arrival at a server that has a probe of this kind."""

    name: str
    words: str
    module: str = "checker.loadtest.worker.whole_attempts"
    """The module whose ``target`` plays it; this one makes a whole attempt of the probe."""
    per_worker: float = 1000.0
    """Rate per second that one worker sustains easily."""
    calls_tool: bool = False
    """It calls the tool that the plan names; other operations call none."""
    reconnects: bool = False
    """It opens a connection by design: that is nothing to recommend against."""
    is_exchange: bool = False
    """One request and its reply, whose stages wait and transfer follow from three moments of the sample."""
    goes_through_proxy: bool = True


class ProbeKind(Struct, frozen=True):
    """A kind of probe, as seen by everything except the worker."""

    name: str
    """The key of its block in a server's entry, and its name in rows and reports."""
    label: str
    """As a sentence calls it."""
    stages: tuple[ProbeStage, ...]
    """Its timed steps, in the order in which they happen."""
    flags: tuple[Flag, ...]
    """The first is called like the kind and takes an address."""
    module: str
    """The module with its `checker.probes.base.Probe` as ``PROBE``."""
    operations: tuple[LoadOperation, ...] = ()
    """The operations that load tests may perform on it."""
    function: str = ""
    """For a kind that is a check function: its place, as ``package.module:name``; empty for any other."""
    echo: Mapping[str, str] = field(default_factory=dict)
    """Its options at the echo server (`checker.loadtest.echo`), against which a load test measures its client, with
    the path alone as address; none where the echo server does not speak it."""


_HTTP_STAGES = (
    ProbeStage("dns", "name lookup"),
    ProbeStage("connect", "TCP connect"),
    ProbeStage("tls", "TLS handshake"),
    ProbeStage("wait", "request sent to first byte (REST)"),
    ProbeStage("transfer", "first to last byte (REST)"),
)

_MCP_LOAD = "checker.loadtest.worker.mcp"
_MCP = ProbeKind(
    name="mcp",
    label="MCP",
    stages=(
        ProbeStage("auth", "authorization server: discovery and token (MCP)"),
        ProbeStage("start", "start of the command (MCP over stdio)"),
        ProbeStage("discover", "server/discover (MCP)"),
        ProbeStage("initialize", "initialize (MCP)"),
        ProbeStage("initialized", "notifications/initialized (MCP)"),
        ProbeStage("ping", "ping (MCP)"),
        ProbeStage("list", "all pages of all lists (MCP)"),
        ProbeStage("call", "calls that the config names (MCP)"),
        ProbeStage("close", "DELETE of the session (MCP)"),
    ),
    flags=(
        Flag("mcp", "URL", "Check this MCP endpoint, without a config."),
        Flag("stdio", "COMMAND", "Check the MCP server that this command starts.", key="command", is_command=True),
    ),
    module="checker.probes.mcp",
    operations=(
        LoadOperation("mcp_check", "A full MCP check: discovery or handshake, ping, lists, end of the session."),
        LoadOperation("mcp_ping", "A ping in a kept session; in the sessionless era, server/discover.", _MCP_LOAD),
        LoadOperation("mcp_list", "tools/list in a kept session.", _MCP_LOAD),
        LoadOperation(
            "mcp_call", "A call of the tool that the scenario names, in a kept session.", _MCP_LOAD, calls_tool=True
        ),
        LoadOperation(
            "mcp_churn", "A session opened and ended: initialize, initialized, DELETE.", _MCP_LOAD, reconnects=True
        ),
    ),
    echo={"url": "/mcp", "era": "session"},
)

_REST = ProbeKind(
    name="rest",
    label="REST",
    stages=_HTTP_STAGES,
    flags=(Flag("rest", "URL", "Check this REST health endpoint, without a config."),),
    module="checker.probes.rest",
    operations=(
        LoadOperation(
            "rest",
            "One request to the server's REST address.",
            "checker.loadtest.worker.rest",
            per_worker=10_000.0,
            is_exchange=True,
            goes_through_proxy=False,
        ),
    ),
    echo={"url": "/health"},
)

KINDS: dict[str, ProbeKind] = {
    "mcp": _MCP,
    "rest": _REST,
}
"""Name -> kind: the only list of them, in the order in which they are shown."""


def function_kind(name: str, function: str, label: str = "", flags: tuple[Flag, ...] = ()) -> ProbeKind:
    """The kind of a check function: it may time the stages of HTTP, and load tests call it for each arrival."""
    return ProbeKind(
        name=name,
        label=label or name,
        stages=_HTTP_STAGES,
        flags=flags,
        module="checker.probes.functions",
        operations=(LoadOperation(name, f"A call of the check function {name}."),),
        function=function,
    )


for _name, _place in installed():
    if _name not in KINDS:
        _flag = Flag(_name, "URL", f"Check this address with {_place.partition(':')[0]}, without a config.")
        KINDS[_name] = function_kind(_name, _place, flags=(_flag,))

STAGES: dict[str, str] = {}
"""Stage -> its description, for all kinds: the stages of an HTTP exchange, shared by several kinds, then others."""
for _stage in (*_HTTP_STAGES, *(stage for kind in KINDS.values() for stage in kind.stages)):
    STAGES.setdefault(_stage.name, _stage.words)

FLAGS: dict[str, tuple[ProbeKind, Flag]] = {flag.name: (kind, flag) for kind in KINDS.values() for flag in kind.flags}
"""Name of an option of `mcp-status check` that names a server -> the kind that it checks, and the option."""

_OPERATIONS = (one for kind in KINDS.values() for one in kind.operations)
OPERATIONS: dict[str, LoadOperation] = {one.name: one for one in sorted(_OPERATIONS, key=lambda one: -one.per_worker)}
"""Name -> operation of load tests; the lightest first."""
KIND_OF: dict[str, str] = {one.name: kind.name for kind in KINDS.values() for one in kind.operations}
"""Name of an operation -> the probe kind whose options define the connection to the server for it."""


def register(kind: ProbeKind) -> None:
    """Add a kind for this process, or replace it: one whose stages others have, as columns for more cannot come now."""
    KINDS[kind.name] = kind
    for one in kind.operations:
        OPERATIONS[one.name], KIND_OF[one.name] = one, kind.name


def stages_of(kind: str) -> tuple[str, ...]:
    """The timed stages of a kind, in order; none for a kind that exists only in old rows."""
    return tuple(stage.name for stage in KINDS[kind].stages) if kind in KINDS else ()


def in_words(names: Iterable[str], last: str = "or") -> str:
    """Names as a sentence lists them: ``mcp or rest``."""
    *some, end = names
    return f"{', '.join(some)} {last} {end}" if some else end


def flags_in_words(last: str) -> str:
    """The options that name a server, as a sentence lists them: ``--mcp, --stdio or --rest``."""
    return in_words((f"--{name}" for name in FLAGS), last)


def kinds_in_words(after: str = "") -> str:
    """The names of the kinds as a sentence lists them: ``mcp or rest``, each followed by the given text."""
    return in_words(f"{name}{after}" for name in KINDS)
