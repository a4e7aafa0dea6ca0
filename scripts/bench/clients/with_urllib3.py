"""Checks with urllib3 as it comes: one PoolManager, patched by gevent.

Where each server is an origin of its own, it keeps twice as many pools as there are checks at once: with fewer it would
close pools that are in use, with one for each server it would keep every connection open.
"""

from gevent import monkey

monkey.patch_all()

from collections.abc import Callable, Mapping  # everything comes after the patch

import urllib3
from greenlets import side_by_side
from messages import session_check, sessionless_check
from order import Order, read_order, report


def rest(http: urllib3.PoolManager, url: str) -> bool:
    response = http.request("GET", url)
    return response.status == 200 and response.json()["status"] == "UP"


def mcp(http: urllib3.PoolManager, url: str, check: Callable[..., bool]) -> bool:
    def send(method: str, body: bytes | None, headers: Mapping[str, str]) -> tuple[int, Mapping[str, str], bytes]:
        response = http.request(method, url, body=body, headers=headers)
        return response.status, response.headers, response.data

    return check(send)


def main(order: Order) -> None:
    http = urllib3.PoolManager(
        num_pools=min(order.origins, 2 * order.concurrency), maxsize=order.concurrency, ca_certs=order.authority
    )
    protocol = sessionless_check if order.path == "/modern" else session_check

    def check(number: int) -> bool:
        url = order.url(number)
        return mcp(http, url, protocol) if order.is_mcp else rest(http, url)

    report(side_by_side(order, check), "urllib3", "gevent")


if __name__ == "__main__":
    main(read_order())
