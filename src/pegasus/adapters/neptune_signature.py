"""How Amazon Neptune knows us: by a signature of a request that is never sent, in place of a password.

docs.aws.amazon.com/neptune/latest/userguide/access-graph-opencypher-bolt.html
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pegasus.errors import Misconfigured, Unavailable

if TYPE_CHECKING:
    from neo4j.auth_management import AuthManager, ExpiringAuth

# A signature is good for five minutes. Connections that were let in stay; new ones need one that is fresh.
_SIGNED_FOR_SECONDS = 240.0
_SENT = ("Authorization", "X-Amz-Date", "X-Amz-Security-Token", "Host")


class NeptuneSignatures:
    """Signs anew before a signature expires, each time with the credentials of that moment: a role's are renewed."""

    def __init__(self, host: str, region: str) -> None:
        """``host``: host:port of the cluster."""
        from botocore.session import get_session

        self._host, self._region = host, region
        self._session = get_session()

    def auth_manager(self) -> AuthManager:
        from neo4j.auth_management import AuthManagers

        return AuthManagers.bearer(self._sign)

    def _sign(self) -> ExpiringAuth:
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.exceptions import BotoCoreError
        from neo4j import basic_auth
        from neo4j.auth_management import ExpiringAuth

        try:
            found = self._session.get_credentials()
            credentials = found and found.get_frozen_credentials()
        except BotoCoreError as error:
            raise Unavailable(
                f"There are no AWS credentials for Neptune now: {error}", hint="Check the role of the task."
            ) from error
        if not credentials:
            raise Misconfigured(
                "There are no AWS credentials for Neptune.",
                hint="Give the task a role that may connect (neptune-db:*), or set AWS_ACCESS_KEY_ID and its secret.",
            )
        request = AWSRequest("GET", f"https://{self._host}/opencypher", headers={"Host": self._host})
        SigV4Auth(credentials, "neptune-db", self._region).add_auth(request)
        signed = {name: request.headers[name] for name in _SENT if name in request.headers}
        token = basic_auth("username", json.dumps({**signed, "HttpMethod": "GET"}), realm="realm")
        return ExpiringAuth(token).expires_in(_SIGNED_FOR_SECONDS)
