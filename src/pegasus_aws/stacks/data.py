"""The data: every store, its secrets and its backups. What is in here is changed rarely and lost never."""

from __future__ import annotations

from troposphere import GetAtt
from troposphere.secretsmanager import Secret

from pegasus_aws import names
from pegasus_aws.constructs.backups import backups
from pegasus_aws.constructs.buckets import buckets
from pegasus_aws.constructs.key import data_key
from pegasus_aws.constructs.neo4j import neo4j
from pegasus_aws.constructs.neptune import neptune
from pegasus_aws.constructs.postgres import postgres
from pegasus_aws.constructs.redis import redis
from pegasus_aws.constructs.secrets import generated
from pegasus_aws.constructs.stack import Stack
from pegasus_aws.constructs.vectors_directory import vectors_directory
from pegasus_aws.environments import Environment, Neptune


def data(environment: Environment) -> Stack:
    stack = Stack(environment, "data", "stores, secrets, backups")
    key = data_key(stack)
    postgres(stack, key)
    redis(stack, key)
    if isinstance(environment.graph, Neptune):
        neptune(stack, environment.graph, key)
    else:
        neo4j(stack, environment.graph, key)
    vectors_directory(stack, key)
    buckets(stack, key)
    generated(stack, "OperatorSecret", "operator", "The key that opens everything", key, "key")
    if environment.google and not environment.google.audience:
        # Its one value, service_account_key, is put in by hand; until then no task that wants it starts.
        secret = stack.add(
            Secret(
                "GoogleSecret",
                Name=names.secret(environment, "vertex-ai"),
                Description="The key of a service account of Google, as service_account_key",
                KmsKeyId=key,
            )
        )
        stack.give("GoogleSecret", GetAtt(secret, "Id"))
    backups(stack, key)
    return stack
