"""S3 as a small store of records, in which a write can be made to depend on what is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from botocore.exceptions import ClientError

from pegasus_aws.clients.connection import answers, code, connect

_CHANGED = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")
_ABSENT = ("NoSuchKey", "NoSuchBucket", "404", "NotFound")


@dataclass(frozen=True, slots=True)
class Stored:
    body: bytes
    tag: str  # Changes with every write.
    age_seconds: float  # By the store's own clock, which all operators share.


class Objects:
    def __init__(self, region: str, bucket: str, account: str) -> None:
        self._client = connect("s3", region)
        self._region, self._bucket = region, bucket
        # A bucket of this name could be somebody else's: then nothing is written to it.
        self._where = {"Bucket": bucket, "ExpectedBucketOwner": account}

    def prepare(self) -> None:
        """Make the bucket, where it is not there yet, and see that it is closed, encrypted and keeps old versions."""
        with answers(f"the bucket {self._bucket}"):
            if not self._exists():
                place = {"LocationConstraint": self._region}
                # The oldest region is the one that may not be named.
                elsewhere = {} if self._region == "us-east-1" else {"CreateBucketConfiguration": place}
                self._client.create_bucket(Bucket=self._bucket, **elsewhere)
            closed = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
            self._client.put_public_access_block(
                **self._where, PublicAccessBlockConfiguration=dict.fromkeys(closed, True)
            )
            self._client.put_bucket_versioning(**self._where, VersioningConfiguration={"Status": "Enabled"})

    def exists(self) -> bool:
        with answers(f"the bucket {self._bucket}"):
            return self._exists()

    def _exists(self) -> bool:
        try:
            self._client.head_bucket(**self._where)
        except ClientError as error:
            if code(error) in _ABSENT:
                return False
            raise
        return True

    def create(self, key: str, body: bytes) -> str | None:
        """The new tag, or None where something is there already."""
        return self._put(key, body, IfNoneMatch="*")

    def replace(self, key: str, body: bytes, tag: str) -> str | None:
        """The new tag, or None where somebody else has written since ``tag`` was read."""
        return self._put(key, body, IfMatch=tag)

    def _put(self, key: str, body: bytes, **condition: str) -> str | None:
        with answers(key):
            try:
                made = self._client.put_object(**self._where, Key=key, Body=body, **condition)
            except ClientError as error:
                if code(error) in _CHANGED:
                    return None
                raise
        return str(made["ETag"])

    def read(self, key: str) -> Stored | None:
        with answers(key):
            try:
                found = self._client.get_object(**self._where, Key=key)
            except ClientError as error:
                if code(error) in _ABSENT:
                    return None
                raise
            age = _date(found) - found["LastModified"]
            return Stored(found["Body"].read(), found["ETag"], age.total_seconds())

    def keys(self, prefix: str) -> Sequence[str]:
        """In order; none where there is no bucket."""
        with answers(prefix):
            try:
                pages = self._client.get_paginator("list_objects_v2").paginate(**self._where, Prefix=prefix)
                return [one["Key"] for page in pages for one in page.get("Contents", [])]
            except ClientError as error:
                if code(error) in _ABSENT:
                    return []
                raise

    def remove_all(self) -> None:
        """Everything, and the bucket."""
        self.empty()
        with answers(f"the bucket {self._bucket}"):
            self._client.delete_bucket(**self._where)

    def empty(self) -> bool:
        """Take away every version of everything; whether there was any."""
        any_found = False
        with answers(f"the bucket {self._bucket}"):
            for page in self._client.get_paginator("list_object_versions").paginate(**self._where):
                found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
                if found:
                    any_found = True
                    which = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in found]
                    done = self._client.delete_objects(**self._where, Delete={"Objects": which, "Quiet": True})
                    for failed in done.get("Errors", [])[:1]:
                        raise ClientError({"Error": failed}, "DeleteObjects")
        return any_found


def _date(answer: Any) -> datetime:
    return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
