"""Secrets that nobody has seen: generated where they are kept, and read by the tasks that need them."""

from __future__ import annotations

import json
from typing import Any

from troposphere import GetAtt, Sub
from troposphere.secretsmanager import GenerateSecretString, Secret

from pegasus_aws import names
from pegasus_aws.constructs.stack import Stack

# ElastiCache takes 16 to 128 characters and few specials; letters and digits need no quoting in a URL either.
_PASSWORD = {"PasswordLength": 64, "ExcludePunctuation": True}


def generated(stack: Stack, title: str, name: str, what: str, key: Any, field: str, others: Any = None) -> Secret:
    """A secret whose ``field`` is made by Secrets Manager, beside others that are no secret."""
    secret = Secret(
        title,
        Name=names.secret(stack.environment, name),
        Description=what,
        KmsKeyId=key,
        GenerateSecretString=GenerateSecretString(
            SecretStringTemplate=others or "{}", GenerateStringKey=field, **_PASSWORD
        ),
    )
    stack.add(secret)
    stack.give(title, GetAtt(secret, "Id"))
    return secret


def composed(stack: Stack, title: str, name: str, what: str, key: Any, **fields: str) -> Secret:
    """A secret put together of others, as a URL is of a password; CloudFormation resolves what the template names."""
    secret = Secret(
        title,
        Name=names.secret(stack.environment, name),
        Description=what,
        KmsKeyId=key,
        SecretString=Sub(json.dumps(fields)),
    )
    stack.add(secret)
    stack.give(title, GetAtt(secret, "Id"))
    return secret


def resolved(secret: str, field: str) -> str:
    """A reference for use in ``Sub``, which CloudFormation resolves at the last moment and shows to nobody."""
    return f"{{{{resolve:secretsmanager:${{{secret}.Id}}:SecretString:{field}}}}}"
