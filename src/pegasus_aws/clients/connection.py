"""How AWS is reached: where boto3's own settings say, with patience, and with errors that say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from pegasus.errors import Forbidden, PegasusError, Unauthorized, Unavailable

_PATIENCE = Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "max_attempts": 6})
_REFUSED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "UnrecognizedClientException")


def connect(service: str, region: str) -> Any:
    """The endpoint, the profile and the credentials are boto3's to find: AWS_ENDPOINT_URL, AWS_PROFILE and the rest."""
    return boto3.client(service, region_name=region, config=_PATIENCE)


@contextmanager
def answers(about: str) -> Iterator[None]:
    """Errors of AWS in the terms of Pegasus. Raises ``Unauthorized``, ``Forbidden`` or ``Unavailable``."""
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise meaning(error, about) from error


def meaning(error: ClientError | BotoCoreError, about: str) -> PegasusError:
    if isinstance(error, NoCredentialsError):
        return Unauthorized("There are no credentials for AWS.", hint="Log in: aws sso login, or set AWS_PROFILE.")
    if code(error) in _REFUSED:
        return Forbidden(f"AWS does not allow it ({about}): {error}", hint="Log in with a role that may do it.")
    return Unavailable(f"AWS gave no answer about {about}: {error}")


def code(error: ClientError | BotoCoreError) -> str:
    return str(error.response["Error"].get("Code", "")) if isinstance(error, ClientError) else ""
