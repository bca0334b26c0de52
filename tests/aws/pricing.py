"""A server on loopback that answers as AWS's price list does: products by service and attributes, a page at a time."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pegasus_aws.prices.book import Ask

_A_PAGE = 2


@dataclass
class Shelf:
    products: list[dict[str, Any]] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)
    refuses: bool = False

    def put(self, ask: Ask, region: str, *usds: float, prefix: str = "", begins: tuple[str, ...] = ("0",)) -> None:
        """A product as the list has it; with several prices they are steps of use."""
        place = {ask.region_field: region} if ask.region_field else {}
        attributes = {"servicecode": ask.service, "usagetype": prefix + ask.usagetype, **place, **ask.attributes}
        steps = {
            f"sku.term.{number}": {"beginRange": begin, "unit": "Hrs", "pricePerUnit": {"USD": f"{usd / ask.per:.10f}"}}
            for number, (usd, begin) in enumerate(zip(usds, begins, strict=True))
        }
        product = {**({"productFamily": ask.family} if ask.family else {}), "attributes": attributes, "sku": "sku"}
        self.products.append(
            {
                "product": product,
                "serviceCode": ask.service,
                "terms": {"OnDemand": {"sku.term": {"priceDimensions": steps, "termAttributes": {}}}},
            }
        )

    def answer(self, given: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if self.refuses:
            return 400, {"__type": "AccessDeniedException", "message": "not authorized to perform: pricing:GetProducts"}
        filters = {one["Field"]: one["Value"] for one in given["Filters"]}
        self.asked.append({"ServiceCode": given["ServiceCode"], **filters})
        found = [one for one in self.products if one["serviceCode"] == given["ServiceCode"] and _has(one, filters)]
        first = int(given.get("NextToken", 0))
        page = {"FormatVersion": "aws_v1", "PriceList": [json.dumps(one) for one in found[first : first + _A_PAGE]]}
        return 200, {**page, **({"NextToken": str(first + _A_PAGE)} if first + _A_PAGE < len(found) else {})}


def _has(product: dict[str, Any], filters: dict[str, str]) -> bool:
    there = {"productFamily": product["product"].get("productFamily"), **product["product"]["attributes"]}
    return all(there.get(name) == value for name, value in filters.items())


@contextmanager
def serving(shelf: Shelf) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.headers["X-Amz-Target"] == "AWSPriceListService.GetProducts"
            status, said = shelf.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            body = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
