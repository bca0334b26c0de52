"""Chroma's directory on EFS: one task mounts it, over TLS, as its own user."""

from __future__ import annotations

from typing import Any

from troposphere import GetAtt, Ref, Select, Split, Sub, Tags
from troposphere.efs import (
    AccessPoint,
    BackupPolicy,
    CreationInfo,
    FileSystem,
    MountTarget,
    PosixUser,
    RootDirectory,
)

from pegasus_aws import application
from pegasus_aws.constructs.iam import policy
from pegasus_aws.constructs.keeping import BACKUP_TAG, RETAIN
from pegasus_aws.constructs.reach import group
from pegasus_aws.constructs.stack import Stack


def vectors_directory(stack: Stack, key: Any) -> None:
    root = Sub("arn:${AWS::Partition}:iam::${AWS::AccountId}:root")
    files = stack.add(
        FileSystem(
            "VectorsFiles",
            Encrypted=True,
            KmsKeyId=key,
            ThroughputMode="elastic",
            BackupPolicy=BackupPolicy(Status="DISABLED"),  # The plan of AWS Backup takes it by its tag.
            FileSystemTags=Tags(**{BACKUP_TAG: stack.environment.name}),
            FileSystemPolicy=policy(
                {
                    "Sid": "RolesOfThisAccount",
                    "Effect": "Allow",
                    "Principal": {"AWS": root},
                    "Action": ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"],
                    "Resource": "*",
                    "Condition": {"Bool": {"elasticfilesystem:AccessedViaMountTarget": "true"}},
                },
                {
                    "Sid": "NothingInTheClear",
                    "Effect": "Deny",
                    "Principal": {"AWS": "*"},
                    "Action": "*",
                    "Resource": "*",
                    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                },
            ),
            Metadata={"pegasus": {"wildcard-resource": "In a file system's policy * is the file system itself."}},
            **RETAIN,
        )
    )
    for number in range(stack.environment.network.zones):
        stack.add(
            MountTarget(
                f"VectorsMount{number}",
                FileSystemId=Ref(files),
                SubnetId=Select(number, Split(",", stack.take("network", "StoreSubnets"))),
                SecurityGroups=[stack.take("network", group("files"))],
            )
        )
    user = application.USER_ID
    point = stack.add(
        AccessPoint(
            "VectorsAccess",
            FileSystemId=Ref(files),
            PosixUser=PosixUser(Uid=user, Gid=user),
            RootDirectory=RootDirectory(
                Path="/chroma", CreationInfo=CreationInfo(OwnerUid=user, OwnerGid=user, Permissions="700")
            ),
        )
    )
    stack.give("VectorsFiles", Ref(files))
    stack.give("VectorsFilesArn", GetAtt(files, "Arn"))
    stack.give("VectorsAccess", Ref(point))
    stack.give("VectorsAccessArn", GetAtt(point, "Arn"))
