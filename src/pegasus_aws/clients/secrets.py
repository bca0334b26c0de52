"""Secrets Manager: values go in and come out here, and are told to nobody on the way."""

from __future__ import annotations

import json
from collections.abc import Mapping

from botocore.exceptions import ClientError

from pegasus_aws.clients.connection import answers, code, connect


class Secrets:
    def __init__(self, region: str) -> None:
        self._client = connect("secretsmanager", region)

    def read(self, name: str) -> Mapping[str, str] | None:
        """None where the secret, or its value, is not there yet."""
        with answers(f"the secret {name}"):
            try:
                found = self._client.get_secret_value(SecretId=name)
            except ClientError as error:
                if code(error) == "ResourceNotFoundException":
                    return None
                raise
        value: Mapping[str, str] | None = json.loads(found["SecretString"]) if found.get("SecretString") else None
        return value

    def write(self, name: str, value: Mapping[str, str]) -> None:
        with answers(f"the secret {name}"):
            self._client.put_secret_value(SecretId=name, SecretString=json.dumps(dict(value)))
