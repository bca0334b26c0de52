"""Names within the network, by Cloud Map: chromadb, redis and graph in pegasus.internal."""

from __future__ import annotations

from typing import Any

from troposphere import GetAtt, Ref
from troposphere.servicediscovery import (
    DnsConfig,
    DnsRecord,
    HealthCheckCustomConfig,
    Instance,
    PrivateDnsNamespace,
    Service,
)

from pegasus_aws import names
from pegasus_aws.constructs.stack import Stack
from pegasus_aws.environments import Neptune

_SECONDS = 15  # A task that is replaced has another address: who asks again soon finds it.


def discovery(stack: Stack) -> None:
    stack.add(PrivateDnsNamespace("Namespace", Name=names.NAMESPACE, Vpc=stack.take("network", "Vpc")))
    vectors = stack.add(
        Service(
            "VectorsName",
            Name="chromadb",
            NamespaceId=Ref("Namespace"),
            DnsConfig=DnsConfig(RoutingPolicy="MULTIVALUE", DnsRecords=[DnsRecord(Type="A", TTL=str(_SECONDS))]),
            HealthCheckCustomConfig=HealthCheckCustomConfig(FailureThreshold=1),  # ECS tells how it is.
        )
    )
    stack.give("VectorsName", GetAtt(vectors, "Arn"))
    # For people who look around. Settings have the stores' own names, which their certificates are for.
    _alias(stack, "redis", "CNAME", stack.take("data", "BrokerAddress"))
    graph = "CNAME" if isinstance(stack.environment.graph, Neptune) else "A"
    _alias(stack, "graph", graph, stack.take("data", "GraphAddress"))


def _alias(stack: Stack, name: str, kind: str, address: Any) -> None:
    service = stack.add(
        Service(
            names.title(name, "name"),
            Name=name,
            NamespaceId=Ref("Namespace"),
            DnsConfig=DnsConfig(RoutingPolicy="WEIGHTED", DnsRecords=[DnsRecord(Type=kind, TTL="60")]),
        )
    )
    attribute = "AWS_INSTANCE_CNAME" if kind == "CNAME" else "AWS_INSTANCE_IPV4"
    stack.add(
        Instance(
            names.title(name, "address"),
            ServiceId=Ref(service),
            InstanceId=name,
            InstanceAttributes={attribute: address},
        )
    )
