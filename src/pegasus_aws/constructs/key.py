"""The key that everything with data in it is encrypted with."""

from __future__ import annotations

from troposphere import GetAtt, Ref, Sub
from troposphere.kms import Alias, Key

from pegasus_aws import names
from pegasus_aws.constructs.iam import policy
from pegasus_aws.constructs.keeping import RETAIN
from pegasus_aws.constructs.stack import Stack, because


def data_key(stack: Stack) -> GetAtt:
    """The ARN of the key. It stays when the stack goes: without it no snapshot could be read again."""
    key = stack.add(
        Key(
            "DataKey",
            Description=f"Data of Pegasus {stack.environment.name}",
            EnableKeyRotation=True,
            PendingWindowInDays=30,
            KeyPolicy=policy(
                {
                    "Sid": "RolesOfThisAccount",
                    "Effect": "Allow",
                    "Principal": {"AWS": Sub("arn:${AWS::Partition}:iam::${AWS::AccountId}:root")},
                    "Action": "kms:*",
                    "Resource": "*",
                },
                {
                    "Sid": "LogGroups",
                    "Effect": "Allow",
                    "Principal": {"Service": Sub("logs.${AWS::Region}.amazonaws.com")},
                    "Action": ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:Describe*"],
                    "Resource": "*",
                    "Condition": {
                        "ArnLike": {
                            "kms:EncryptionContext:aws:logs:arn": Sub(
                                "arn:${AWS::Partition}:logs:${AWS::Region}:${AWS::AccountId}:log-group:*"
                            )
                        }
                    },
                },
                {
                    "Sid": "AlarmsToTheTopic",
                    "Effect": "Allow",
                    "Principal": {"Service": "cloudwatch.amazonaws.com"},
                    "Action": ["kms:Decrypt", "kms:GenerateDataKey*"],
                    "Resource": "*",
                    "Condition": {"StringEquals": {"aws:SourceAccount": Ref("AWS::AccountId")}},
                },
            ),
            Metadata=because(
                wildcard_action="A key's policy gives the account all rights, which the roles' own policies then hand "
                "out; without this statement nobody could ever change the key.",
                wildcard_resource="In a key's policy * is the key itself.",
            ),
            **RETAIN,
        )
    )
    stack.add(Alias("DataKeyAlias", AliasName=f"alias/{names.cluster(stack.environment)}", TargetKeyId=Ref(key)))
    stack.give("DataKey", GetAtt(key, "Arn"))
    return GetAtt(key, "Arn")
