"""Checks with geventhttpclient: one HTTPClient for each origin, as its documentation has it."""

import json

from geventhttpclient import HTTPClient
from greenlets import side_by_side
from order import Order, read_order, report


def main(order: Order) -> None:
    clients = [HTTPClient("127.0.0.1", port, concurrency=order.concurrency) for port in order.ports]

    def check(number: int) -> bool:
        response = clients[number % len(clients)].get(order.path)
        return response.status_code == 200 and json.loads(response.read())["status"] == "UP"

    report(side_by_side(order, check), "geventhttpclient", "gevent")


if __name__ == "__main__":
    main(read_order())
