"""Requests over the worker's transport whose addresses servers name, in a process that is patched as a worker is.

`python boundary_program.py fast|urllib3` writes what came of each as JSON. Where the first host is to be one that
loopback does not have, the trace is told that it was reached; everything else is as in a check.
"""

from gevent import monkey

monkey.patch_all()

import json
import sys
from pathlib import Path
from typing import Any

for place in (Path(__file__).parent, Path(__file__).parents[2]):
    sys.path.insert(0, str(place))

from checker.addresses import Scope
from checker.limits import CacheLimits, DnsLimits, PoolLimits
from checker.probes.base import ProbeFailure, Request
from checker.probes.options import Endpoint
from checker.worker.tokens import TokenStore
from checker.worker.transport.client import Client, Shared
from checker.worker.transport.dns import DnsCache
from checker.worker.transport.pools import Pools
from checker.worker.transport.programs import Processes
from checker.worker.transport.trace import Trace
from checker.worker.transport.urllib3_exchange import PlainHttp
from servers import RestServer

METADATA = ("169.254.169.254", "2852039166", "[::ffff:169.254.169.254]", "0xa9fea9fe", "[64:ff9b::a9fe:a9fe]")
WAY: Any = sys.argv[1]
pools = Pools(10, PoolLimits(), DnsCache(DnsLimits()))
nobody: Any = None
shared = Shared(pools, PlainHttp(pools, 10), Processes(), TokenStore(None, CacheLimits()), nobody)


def client(url: str, reached: Scope | None) -> Client:
    trace = Trace()
    trace.reached = reached
    return Client(shared, Endpoint(url=url, http=WAY), trace)


def asked(of: Client, url: str, **named: bool) -> int | str:
    try:
        reply = of.send(Request("GET", url, {}, **named))
        reply.read()
    except ProbeFailure as failure:
        return failure.reason.value
    return reply.status


found: dict[str, Any] = {}
with RestServer() as server:
    url, elsewhere = server.url(), "http://elsewhere.example/"
    found["first"] = asked(client(url, None), url)
    found["kept, named by the config"] = asked(client(url, Scope.PUBLIC), url)
    found["connections"] = server.connections
    for reached in (Scope.PUBLIC, Scope.PRIVATE, Scope.GUARDED, None):
        name = "unknown" if reached is None else reached.name
        found[f"kept, named after {name}"] = asked(client(elsewhere, reached), url, redirected=True)
    found["requests"] = len(server.requests)
    found["kept, named after LOOPBACK"] = asked(client(elsewhere, Scope.LOOPBACK), url, redirected=True)
    of = client(elsewhere, Scope.PUBLIC)
    found["kept, private allowed"] = asked(of, url, redirected=True, private_allowed=True)
    for host in METADATA:
        for allowed in (False, True):
            of = client(url, Scope.LOOPBACK)
            reason = asked(of, f"http://{host}/latest/meta-data/", redirected=True, private_allowed=allowed)
            found[f"metadata {host} {allowed}"] = reason
    of = client(url, None)
    asked(of, url)
    of._trace.connection(peer=Scope.PUBLIC, reused=False)  # it has redirected to a public host
    found["inside again after a public host"] = asked(of, url, redirected=True)
    of = client(elsewhere, Scope.PUBLIC)
    found["named by a configured issuer"] = of.aside(lambda to: (asked(to, url), asked(to, url, redirected=True)), url)
    found["named by the server, aside"] = of.aside(lambda to: asked(to, url, redirected=True))
print(json.dumps(found))
