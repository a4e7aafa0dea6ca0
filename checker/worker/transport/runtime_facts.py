"""What a worker runs with: its event loop, TLS library and decoders. A program that prints them as one JSON object."""

from __future__ import annotations

import json
import ssl
import sys
from typing import Any

import gevent
import httptools
from urllib3 import _version
from urllib3.util.request import ACCEPT_ENCODING


def runtime_facts() -> dict[str, Any]:
    """The versions and choices that `mcp-status selftest` names."""
    loop: Any = gevent.get_hub().loop
    context = ssl.create_default_context()
    return {
        "gevent": gevent.__version__,
        "loop": type(loop).__module__.removeprefix("gevent."),
        "poll": loop.backend,
        "tls": ssl.OPENSSL_VERSION,
        "authorities": context.cert_store_stats()["x509_ca"],
        "authorities_file": ssl.get_default_verify_paths().cafile or ssl.get_default_verify_paths().capath,
        "httptools": httptools.__version__,
        "urllib3": _version.version,
        "codings": ACCEPT_ENCODING.split(","),
    }


if __name__ == "__main__":
    json.dump(runtime_facts(), sys.stdout)
