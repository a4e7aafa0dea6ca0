"""Checks with requests: one session whose pools are as large as the order needs, patched by gevent."""

from gevent import monkey

monkey.patch_all()

import requests  # everything comes after the patch
from greenlets import side_by_side
from order import Order, read_order, report


def main(order: Order) -> None:
    session = requests.Session()
    session.mount("http://", requests.adapters.HTTPAdapter(len(order.ports), order.concurrency))

    def check(number: int) -> bool:
        response = session.get(order.url(number), timeout=30)
        return response.status_code == 200 and response.json()["status"] == "UP"

    report(side_by_side(order, check), "requests", "urllib3", "gevent")


if __name__ == "__main__":
    main(read_order())
