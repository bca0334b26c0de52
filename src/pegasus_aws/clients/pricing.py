"""AWS's price list: what it takes for what, asked by service and attributes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from pegasus.errors import Unavailable

_HOME = "us-east-1"  # It answers for all regions from there.


class PriceList:
    def __init__(self) -> None:
        patience = Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "max_attempts": 4})
        self._client = boto3.client("pricing", region_name=_HOME, config=patience)

    def products(self, service: str, filters: Mapping[str, str]) -> Iterator[Mapping[str, Any]]:
        """Every product that has all these attributes, page by page. Raises ``Unavailable``."""
        terms = [{"Type": "TERM_MATCH", "Field": name, "Value": value} for name, value in filters.items()]
        pages = self._client.get_paginator("get_products").paginate(ServiceCode=service, Filters=terms)
        try:
            for page in pages:
                yield from (json.loads(product) for product in page["PriceList"])
        except (ClientError, BotoCoreError) as error:
            raise Unavailable(
                f"AWS's price list gave no answer about {service}: {error}",
                hint="Look whether the credentials allow pricing:GetProducts; the book that is there still holds.",
            ) from error
