"""S3: the original files, and a bucket for the logs that only a bucket can take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from troposphere import GetAtt, Ref, Sub
from troposphere.s3 import (
    AbortIncompleteMultipartUpload,
    Bucket,
    BucketEncryption,
    BucketPolicy,
    LifecycleConfiguration,
    LifecycleRule,
    LoggingConfiguration,
    NoncurrentVersionExpiration,
    OwnershipControls,
    OwnershipControlsRule,
    PublicAccessBlockConfiguration,
    ServerSideEncryptionByDefault,
    ServerSideEncryptionRule,
    VersioningConfiguration,
)

from pegasus_aws.constructs.iam import policy
from pegasus_aws.constructs.keeping import RETAIN
from pegasus_aws.constructs.stack import Stack, because

# What was erased stays in old versions until these go: long enough to see a mistake, short enough for a promise.
_OLD_VERSIONS_DAYS = 30
# What clients send that never becomes a document goes within a day and an hour; this is for when nobody sees to that.
_UPLOADS, _UPLOADS_DAYS = "pegasus/uploads/", 2


def buckets(stack: Stack, key: Any) -> None:
    logs = _bucket(
        stack,
        "LogsBucket",
        {"SSEAlgorithm": "AES256"},
        LifecycleRule(Id="end", Status="Enabled", ExpirationInDays=stack.environment.log_retention_days),
        Metadata=because(
            CKV_AWS_18="It holds the logs of the others; its own would be logs of logs without end.",
            CKV_AWS_145="The balancer cannot write to a bucket with a key of one's own.",
        ),
    )
    _policy(
        stack,
        logs,
        _deliver("logdelivery.elasticloadbalancing.amazonaws.com", "balancer/AWSLogs/${AWS::AccountId}/*"),
        _deliver("logging.s3.amazonaws.com", "files/*"),
    )
    files = _bucket(
        stack,
        "FilesBucket",
        {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key},
        LifecycleRule(
            Id="forget",
            Status="Enabled",
            NoncurrentVersionExpiration=NoncurrentVersionExpiration(NoncurrentDays=_OLD_VERSIONS_DAYS),
            ExpiredObjectDeleteMarker=True,
        ),
        LifecycleRule(Id="uploads", Status="Enabled", Prefix=_UPLOADS, ExpirationInDays=_UPLOADS_DAYS),
        LoggingConfiguration=LoggingConfiguration(DestinationBucketName=Ref(logs), LogFilePrefix="files/"),
        DependsOn="LogsBucketPolicy",
    )
    _policy(stack, files)
    for bucket in (logs, files):
        stack.give(bucket.title, Ref(bucket))


def _bucket(stack: Stack, title: str, encryption: Mapping[str, Any], *rules: LifecycleRule, **more: Any) -> Bucket:
    unfinished = LifecycleRule(
        Id="unfinished",
        Status="Enabled",
        AbortIncompleteMultipartUpload=AbortIncompleteMultipartUpload(DaysAfterInitiation=2),
    )
    return stack.add(
        Bucket(
            title,
            BucketEncryption=BucketEncryption(
                ServerSideEncryptionConfiguration=[
                    ServerSideEncryptionRule(
                        ServerSideEncryptionByDefault=ServerSideEncryptionByDefault(**encryption), BucketKeyEnabled=True
                    )
                ]
            ),
            OwnershipControls=OwnershipControls(Rules=[OwnershipControlsRule(ObjectOwnership="BucketOwnerEnforced")]),
            PublicAccessBlockConfiguration=PublicAccessBlockConfiguration(
                BlockPublicAcls=True, BlockPublicPolicy=True, IgnorePublicAcls=True, RestrictPublicBuckets=True
            ),
            VersioningConfiguration=VersioningConfiguration(Status="Enabled"),
            LifecycleConfiguration=LifecycleConfiguration(Rules=[*rules, unfinished]),
            **RETAIN,
            **more,
        )
    )


def _deliver(service: str, path: str) -> Mapping[str, Any]:
    return {
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": "s3:PutObject",
        "Resource": Sub(f"${{LogsBucket.Arn}}/{path}"),
        "Condition": {"StringEquals": {"aws:SourceAccount": Ref("AWS::AccountId")}},
    }


def _policy(stack: Stack, bucket: Bucket, *statements: Mapping[str, Any]) -> None:
    in_the_clear = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [GetAtt(bucket, "Arn"), Sub(f"${{{bucket.title}.Arn}}/*")],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    stack.add(
        BucketPolicy(f"{bucket.title}Policy", Bucket=Ref(bucket), PolicyDocument=policy(*statements, in_the_clear))
    )
