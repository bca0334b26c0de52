"""Lets others put one object into a bucket: a URL with a signature over the headers that they have to send, too.

obstore signs URLs, but no headers; with a signature over its length and its SHA-256 S3 takes these bytes and no others.
docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
"""

from __future__ import annotations

from collections.abc import Mapping

from pegasus.errors import Unavailable


class S3Signatures:
    """Signs with the credentials of the moment, which are found where obstore finds them: a role's are renewed."""

    def __init__(self) -> None:
        from botocore.session import get_session

        self._session = get_session()

    def __call__(self, url: str, region: str, headers: Mapping[str, str], seconds: int) -> str:
        from botocore.auth import S3SigV4QueryAuth
        from botocore.awsrequest import AWSRequest
        from botocore.exceptions import BotoCoreError

        try:
            found = self._session.get_credentials()
            credentials = found and found.get_frozen_credentials()
        except BotoCoreError as error:
            raise _without_credentials(f": {error}") from error
        if not credentials:
            raise _without_credentials(".")
        request = AWSRequest("PUT", url, headers=dict(headers))
        S3SigV4QueryAuth(credentials, "s3", region, expires=seconds).add_auth(request)
        signed: str = request.url
        return signed


def _without_credentials(why: str) -> Unavailable:
    return Unavailable(
        f"There are no AWS credentials to sign an upload with{why}",
        hint="Check the role of the task, or set AWS_ACCESS_KEY_ID and its secret.",
    )
