"""What is encrypted, at rest and on the way."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from pegasus_aws.plan.policy.system import Found, System, containers, found, rule

_ENCRYPTED: Mapping[str, tuple[str, ...]] = {
    "AWS::RDS::DBInstance": ("StorageEncrypted", "KmsKeyId"),
    "AWS::Neptune::DBCluster": ("StorageEncrypted", "KmsKeyId"),
    "AWS::ElastiCache::ReplicationGroup": ("AtRestEncryptionEnabled", "KmsKeyId"),
    "AWS::EFS::FileSystem": ("Encrypted", "KmsKeyId"),
    "AWS::EC2::Volume": ("Encrypted", "KmsKeyId"),
    "AWS::S3::Bucket": ("BucketEncryption",),
    "AWS::SecretsManager::Secret": ("KmsKeyId",),
    "AWS::SNS::Topic": ("KmsMasterKeyId",),
    "AWS::Backup::BackupVault": ("EncryptionKeyArn",),
    "AWS::ECR::Repository": ("EncryptionConfiguration",),
}


@rule("encryption", "Encrypt it with the key of the stack data.")
def _encryption(system: System) -> Iterator[Found]:
    for kind, wanted in _ENCRYPTED.items():
        for stack, name, properties in system.of(kind):
            missing = [one for one in wanted if properties.get(one) in (None, False, "false")]
            if missing:
                yield stack, name, f"{', '.join(missing)} is missing or false."


@rule("key-rotation", "Set EnableKeyRotation.")
def _key_rotation(system: System) -> Iterator[Found]:
    for stack, name, properties in system.of("AWS::KMS::Key"):
        if properties.get("EnableKeyRotation") not in (True, "true"):
            yield stack, name, "The key never changes."


@rule("tls", "Let nothing be read or written in the clear.")
def _tls(system: System) -> Iterator[Found]:
    for stack, name, properties in system.of("AWS::ElasticLoadBalancingV2::Listener"):
        redirects = [one for one in properties["DefaultActions"] if one["Type"] == "redirect"]
        if properties.get("Protocol") != "HTTPS" and not redirects:
            yield stack, name, "It answers without TLS; redirect to HTTPS."
        if properties.get("Protocol") == "HTTPS" and "TLS13-1-2" not in str(properties.get("SslPolicy")):
            yield stack, name, "It takes TLS older than 1.2; use ELBSecurityPolicy-TLS13-1-2-2021-06."
    for stack, name, properties in system.of("AWS::ElastiCache::ReplicationGroup"):
        if properties.get("TransitEncryptionEnabled") not in (True, "true"):
            yield stack, name, "TransitEncryptionEnabled is off."
        elif properties.get("TransitEncryptionMode") != "required":
            yield stack, name, "It takes connections without TLS too; TransitEncryptionMode is to be required."
    for stack, name, properties in system.of("AWS::RDS::DBParameterGroup"):
        if str(properties.get("Parameters", {}).get("rds.force_ssl")) != "1":
            yield stack, name, "PostgreSQL takes connections without TLS; set rds.force_ssl to 1."
    for stack, name, properties in system.of("AWS::ECS::TaskDefinition"):
        for volume in found(properties, "EFSVolumeConfiguration"):
            if volume.get("TransitEncryption") != "ENABLED":
                yield stack, name, "It mounts EFS without TLS."


@rule("tls-only-policy", "Deny what comes without TLS: condition aws:SecureTransport false.")
def _tls_only_policy(system: System) -> Iterator[Found]:
    policies = {
        json.dumps(properties["Bucket"]): json.dumps(properties)
        for _, _, properties in system.of("AWS::S3::BucketPolicy")
    }
    for stack, name, _ in system.of("AWS::S3::Bucket"):
        if "aws:SecureTransport" not in policies.get(json.dumps({"Ref": name}), ""):
            yield stack, name, "It can be read without TLS."


@rule("verified-database", "Ask PostgreSQL for its certificate: sslmode=verify-full and sslrootcert in DATABASE_URL.")
def _verified_database(system: System) -> Iterator[Found]:
    for stack, name, container in containers(system):
        for variable in container.get("Environment", []):
            if variable["Name"] == "DATABASE_URL" and "sslmode=verify-full" not in json.dumps(variable["Value"]):
                yield stack, name, "DATABASE_URL takes any server for the database."
