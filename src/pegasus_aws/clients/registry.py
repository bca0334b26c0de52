"""ECR: which images are there, and how a container engine may push more."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from botocore.exceptions import ClientError

from pegasus_aws.clients.connection import answers, code, connect


@dataclass(frozen=True, slots=True)
class Login:
    registry: str
    user: str
    password: str


class Registry:
    def __init__(self, region: str) -> None:
        self._client = connect("ecr", region)

    def has(self, repository: str, digest: str) -> bool:
        return self._digest(repository, imageDigest=digest) is not None

    def digest(self, repository: str, tag: str) -> str | None:
        return self._digest(repository, imageTag=tag)

    def _digest(self, repository: str, **which: str) -> str | None:
        with answers(f"the images of {repository}"):
            try:
                found = self._client.describe_images(repositoryName=repository, imageIds=[which])["imageDetails"]
            except ClientError as error:
                if code(error) in ("ImageNotFoundException", "RepositoryNotFoundException"):
                    return None
                raise
        return str(found[0]["imageDigest"]) if found else None

    def login(self) -> Login:
        with answers("the registry"):
            found = self._client.get_authorization_token()["authorizationData"][0]
        user, _, password = base64.b64decode(found["authorizationToken"]).decode().partition(":")
        return Login(found["proxyEndpoint"].removeprefix("https://"), user, password)
