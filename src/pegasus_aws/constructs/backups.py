"""AWS Backup: a second line behind each store's own, in a vault that holds on to what it has."""

from __future__ import annotations

from typing import Any

from troposphere import GetAtt, Ref, Sub
from troposphere.backup import (
    BackupPlan,
    BackupPlanResourceType,
    BackupRuleResourceType,
    BackupSelection,
    BackupSelectionResourceType,
    BackupVault,
    ConditionResourceType,
    LifecycleResourceType,
    LockConfigurationType,
)

from pegasus_aws import names
from pegasus_aws.constructs.iam import role
from pegasus_aws.constructs.keeping import BACKUP_TAG, RETAIN
from pegasus_aws.constructs.stack import Stack

_KEPT_DAYS, _KEPT_DAYS_PROTECTED = 7, 35


def backups(stack: Stack, key: Any) -> None:
    """Whatever has the tag is backed up daily: database, graph and Chroma's directory."""
    environment = stack.environment
    days = _KEPT_DAYS_PROTECTED if environment.protected else _KEPT_DAYS
    # Nobody's slip deletes a backup within a week of it; who may administer the vault can still open the lock.
    lock = {"LockConfiguration": LockConfigurationType(MinRetentionDays=7)} if environment.protected else {}
    vault = stack.add(
        BackupVault("Backups", BackupVaultName=names.cluster(environment), EncryptionKeyArn=key, **lock, **RETAIN)
    )
    plan = stack.add(
        BackupPlan(
            "BackupPlan",
            BackupPlan=BackupPlanResourceType(
                BackupPlanName=names.cluster(environment),
                BackupPlanRule=[
                    BackupRuleResourceType(
                        RuleName="daily",
                        TargetBackupVault=Ref(vault),
                        ScheduleExpression="cron(0 1 * * ? *)",
                        StartWindowMinutes=60,
                        CompletionWindowMinutes=360,
                        Lifecycle=LifecycleResourceType(DeleteAfterDays=days),
                    )
                ],
            ),
        )
    )
    managed = "arn:${AWS::Partition}:iam::aws:policy/service-role/AWSBackupServiceRolePolicyFor"
    writer = stack.add(
        role("BackupRole", "backup.amazonaws.com", managed=[Sub(f"{managed}Backup"), Sub(f"{managed}Restores")])
    )
    stack.add(
        BackupSelection(
            "BackupSelection",
            BackupPlanId=Ref(plan),
            BackupSelection=BackupSelectionResourceType(
                SelectionName="tagged",
                IamRoleArn=GetAtt(writer, "Arn"),
                ListOfTags=[
                    ConditionResourceType(
                        ConditionType="STRINGEQUALS", ConditionKey=BACKUP_TAG, ConditionValue=environment.name
                    )
                ],
            ),
        )
    )
