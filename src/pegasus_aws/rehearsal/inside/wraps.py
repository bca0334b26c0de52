"""What the emulator would let pass though AWS would not, or drops though AWS acts on it, put right.

Each has a test in ``tests/aws/test_emulator.py`` that shows what the emulator does without it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from secrets import token_urlsafe
from typing import Any

from ministack.core.responses import get_region, json_response
from ministack.services import alb, ecs, elasticache, rds, secretsmanager
from ministack.services.cloudformation import provisioners

from pegasus_aws.rehearsal.inside.handlers import recorded

Properties = dict[str, Any]
_NO_ENGINE = "This rehearsal has no container engine: no task runs."


def install() -> None:
    _tasks_as_they_are_described()
    _services_as_they_are_described()
    _first_deployments_have_to_come_up()
    _passwords_as_they_are_asked_for()
    _passwords_of_databases()
    _addresses_of_redis()
    _alarms_of_several_metrics()
    _what_is_protected_stays()


def _tasks_as_they_are_described() -> None:
    """Properties below the first level keep the template's spelling, and secrets are dropped, as nobody knows them."""

    def create(logical_id: str, properties: Properties, stack: str) -> tuple[str, dict[str, Any]]:
        arn, attributes = plain(logical_id, properties, stack)
        stored = ecs._task_defs[arn.rpartition("/")[2]]
        stored.update({name: value for name, value in camel(properties).items() if name != "tags"})
        return arn, attributes

    handler = provisioners._RESOURCE_HANDLERS["AWS::ECS::TaskDefinition"]
    plain = handler["create"]
    # A changed definition is another revision; the one before is taken back when the stack is cleaned up.
    handler |= {"create": create, "update": lambda _, __, new, stack, logical_id: create(logical_id, new, stack)}
    handler["update_with_logical_id"] = True


def _services_as_they_are_described() -> None:
    """Cloud Map, grace period, and alarms and circuit breaker of a deployment are left out of what is created."""

    def create(logical_id: str, properties: Properties, stack: str) -> tuple[str, dict[str, Any]]:
        name = properties.get("ServiceName", f"{stack}-{logical_id}")
        answer = ecs._create_service({**camel(properties), "serviceName": name})
        if answer[0] >= 400:
            raise ValueError(f"AWS::ECS::Service: {json.loads(answer[2]).get('message', 'refused')}")
        arn = json.loads(answer[2])["service"]["serviceArn"]
        return arn, {"ServiceArn": arn, "Name": name}

    provisioners._RESOURCE_HANDLERS["AWS::ECS::Service"]["create"] = create


def _first_deployments_have_to_come_up() -> None:
    """The first deployment of a service is completed before any task of it runs."""
    plain = ecs._make_deployment

    def make(*arguments: Any, **more: Any) -> dict[str, Any]:
        return {**plain(*arguments, **more), "rolloutState": "IN_PROGRESS", "rolloutStateReason": ""}

    ecs._make_deployment = make


def _passwords_as_they_are_asked_for() -> None:
    """What a generated password may not have in it is left out of account, but for single characters."""
    plain = provisioners._sm_secret_string

    def generated(properties: Properties) -> str:
        wanted = properties.get("GenerateSecretString")
        if not wanted or properties.get("SecretString"):
            return str(plain(properties))
        answer = secretsmanager._get_random_password(wanted)
        if answer[0] >= 400:
            raise ValueError(f"AWS::SecretsManager::Secret: {json.loads(answer[2]).get('message', 'refused')}")
        password = str(json.loads(answer[2])["RandomPassword"])
        if not wanted.get("SecretStringTemplate"):
            return password
        return json.dumps({**json.loads(wanted["SecretStringTemplate"]), wanted["GenerateStringKey"]: password})

    provisioners._sm_secret_string = generated


def _passwords_of_databases() -> None:
    """A database whose password RDS manages has a secret with it, which the template hands on."""
    handler = provisioners._RESOURCE_HANDLERS["AWS::RDS::DBInstance"]
    create, update, delete = handler["create"], handler["update"], handler["delete"]

    def with_secret(name: str, attributes: dict[str, Any]) -> dict[str, Any]:
        secret = rds._instances[name].get("MasterUserSecret")
        return attributes | ({"MasterUserSecret.SecretArn": secret["SecretArn"]} if secret else {})

    def created(logical_id: str, properties: Properties, stack: str) -> tuple[str, dict[str, Any]]:
        name, attributes = create(logical_id, properties, stack)
        instance = rds._instances[name]
        if str(properties.get("ManageMasterUserPassword", "")).lower() == "true":
            instance["_MasterUserPassword"] = token_urlsafe(24)
            login = {"username": instance["MasterUsername"], "password": instance["_MasterUserPassword"]}
            secret = secretsmanager.create_secret_in_process(
                f"rds!{instance['DbiResourceId'].lower()}", json.dumps(login)
            )
            key = (properties.get("MasterUserSecret") or {}).get("KmsKeyId", "")
            instance["MasterUserSecret"] = {"SecretArn": secret, "SecretStatus": "active", "KmsKeyId": key}
        return name, with_secret(name, attributes)

    def updated(physical_id: str, *rest: Any) -> tuple[str, dict[str, Any]]:
        name, attributes = update(physical_id, *rest)
        return name, with_secret(name, attributes)

    def deleted(physical_id: str, properties: Properties) -> None:
        secret = rds._instances.get(physical_id, {}).get("MasterUserSecret")
        delete(physical_id, properties)
        if secret:
            secretsmanager._delete_secret({"SecretId": secret["SecretArn"], "ForceDeleteWithoutRecovery": True})

    handler |= {"create": created, "update": updated, "delete": deleted}


def _addresses_of_redis() -> None:
    """A group with cluster mode on and one shard is no cluster to the emulator, and all groups have one address."""
    handler = provisioners._RESOURCE_HANDLERS["AWS::ElastiCache::ReplicationGroup"]
    create, update = handler["create"], handler["update"]

    def addressed(name: str, clustered: bool) -> tuple[str, dict[str, Any]]:
        group = elasticache._replication_groups[name]
        group["ClusterEnabled"] = clustered
        address = {"Address": redis_address(name, clustered), "Port": 6379}
        if clustered:
            group["ConfigurationEndpoint"] = address
        for shard in group["NodeGroups"]:
            shard |= {"PrimaryEndpoint": address, "ReaderEndpoint": address}
        return name, provisioners._ec_rg_attrs(name)

    def created(logical_id: str, properties: Properties, stack: str) -> tuple[str, dict[str, Any]]:
        return addressed(create(logical_id, properties, stack)[0], is_clustered(properties))

    def updated(physical_id: str, old: Properties, new: Properties, *rest: Any) -> tuple[str, dict[str, Any]]:
        return addressed(update(physical_id, old, new, *rest)[0], is_clustered(new))

    handler |= {"create": created, "update": updated}
    elasticache._get_docker = lambda: None


def is_clustered(properties: Properties) -> bool:
    return properties.get("ClusterMode") == "enabled" or int(properties.get("NumNodeGroups") or 1) > 1


def redis_address(name: str, clustered: bool) -> str:
    return f"{'clustercfg' if clustered else 'master'}.{name}.rehearsal.{get_region()}.cache.amazonaws.com"


def _alarms_of_several_metrics() -> None:
    """They are refused. Here they are kept, and go off when they are told to (``set-alarm-state``), not by numbers."""
    plain = provisioners._cw_metric_alarm_record

    def record(name: str, properties: Properties) -> dict[str, Any]:
        if not properties.get("Metrics"):
            return dict(plain(name, properties))
        rest = {key: value for key, value in properties.items() if key != "Metrics"}
        alarm = plain(name, {**rest, "MetricName": "several", "Namespace": "several"})
        alarm |= {"MetricName": None, "Namespace": None, "Metrics": properties["Metrics"]}
        if alarm["StateValue"] == "INSUFFICIENT_DATA" and alarm["TreatMissingData"] == "notBreaching":
            alarm["StateValue"] = "OK"
        return dict(alarm)

    provisioners._cw_metric_alarm_record = record


def _what_is_protected_stays() -> None:
    """A stack takes databases and balancers along though their deletion protection is on."""

    def guarded(type_: str, is_protected: Callable[[str], bool]) -> None:
        handler = provisioners._RESOURCE_HANDLERS[type_]
        plain = handler["delete"]

        def delete(physical_id: str, properties: Properties) -> None:
            if is_protected(physical_id):
                raise ValueError(f"{physical_id} has deletion protection; take that back first.")
            plain(physical_id, properties)

        handler["delete"] = delete

    attribute, graph = "deletion_protection.enabled", "AWS::Neptune::DBCluster"
    guarded(graph, lambda name: bool(recorded(graph, name, "DeletionProtection")))
    guarded("AWS::RDS::DBInstance", lambda name: bool(rds._instances.get(name, {}).get("DeletionProtection")))
    guarded("AWS::ElasticLoadBalancingV2::LoadBalancer", lambda name: alb._lb_attr(name, attribute, "false") == "true")


def without_engine() -> None:
    """Without an engine every task is said to run at once, and so every deployment to be completed."""

    def refuse(data: Mapping[str, Any]) -> Any:
        cluster = ecs._resolve_cluster_name(data.get("cluster", "default"))
        return json_response({"tasks": [], "failures": [{"arn": str(cluster), "reason": _NO_ENGINE}]})

    ecs._get_docker = lambda: None
    ecs._run_task = refuse
    ecs._ACTION_MAP["RunTask"] = refuse


def camel(value: Any) -> Any:
    """A template's spelling in the API's: ``ContainerPort`` is ``containerPort``, at every depth."""
    if isinstance(value, Mapping):
        return {_spelled(name): camel(one) for name, one in value.items()}
    return [camel(one) for one in value] if isinstance(value, list) else value


def _spelled(name: str) -> str:
    if name == "FilesystemId":  # The two differ in this one's middle.
        return "fileSystemId"
    return re.sub(r"^[A-Z]+(?=[A-Z][a-z]|$)|^[A-Z]", lambda found: found[0].lower(), name)
