"""The resource types of our templates that the emulator does not know, so that stacks can be built whole.

Where the emulator has the service, its own functions are called, and describe calls show what was made. The others are
kept and looked over: what a type cannot be without has to be there, and what it names has to exist.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from ministack.services.cloudformation import provisioners

from pegasus_aws.rehearsal.inside import calls

Properties = dict[str, Any]
Made = tuple[str, dict[str, Any]]  # The physical id, and what Fn::GetAtt reads.
_VOLUME = ("AvailabilityZone", "Size", "VolumeType", "Encrypted", "KmsKeyId")


def install() -> None:
    """Hand them to the emulator. One that it has by now would be hidden, so that is refused."""
    handlers = provisioners._RESOURCE_HANDLERS
    for type_, handler in {**_called(), **{type_: _kept(type_, one) for type_, one in RECORDED.items()}}.items():
        if type_ in handlers:
            raise RuntimeError(f"The emulator has a handler of its own for {type_}.")
        handlers[type_] = handler


@dataclass(frozen=True, slots=True)
class Recorded:
    """A type that is kept, and does nothing."""

    needs: tuple[str, ...]
    names: Mapping[str, str] = field(default_factory=dict)  # Which property names a resource of which recorded type.
    id_from: str | None = None  # The property that is its name; without one, or where it is left out, one is made up.
    attributes: Callable[[str], dict[str, Any]] = lambda _: {}


def _neptune(name: str) -> dict[str, Any]:
    address = f"{name}.cluster-rehearsal.us-east-1.neptune.amazonaws.com"
    return {"ClusterResourceId": f"cluster-{name.upper()}", "Endpoint": address, "Port": "8182"}


RECORDED: Mapping[str, Recorded] = {
    "AWS::ApplicationAutoScaling::ScalableTarget": Recorded(
        ("MinCapacity", "MaxCapacity", "ResourceId", "ScalableDimension", "ServiceNamespace"), id_from="ResourceId"
    ),
    "AWS::ApplicationAutoScaling::ScalingPolicy": Recorded(
        ("PolicyName", "PolicyType"), {"ScalingTargetId": "AWS::ApplicationAutoScaling::ScalableTarget"}
    ),
    "AWS::Batch::ComputeEnvironment": Recorded(("Type", "ComputeResources")),
    "AWS::Batch::JobQueue": Recorded(("ComputeEnvironmentOrder", "Priority"), id_from="JobQueueName"),
    "AWS::Batch::JobDefinition": Recorded(("Type", "ContainerProperties"), id_from="JobDefinitionName"),
    "AWS::Neptune::DBSubnetGroup": Recorded(("DBSubnetGroupDescription", "SubnetIds")),
    "AWS::Neptune::DBClusterParameterGroup": Recorded(("Description", "Family", "Parameters")),
    "AWS::Neptune::DBParameterGroup": Recorded(("Description", "Family", "Parameters")),
    "AWS::Neptune::DBCluster": Recorded(
        (),
        {
            "DBSubnetGroupName": "AWS::Neptune::DBSubnetGroup",
            "DBClusterParameterGroupName": "AWS::Neptune::DBClusterParameterGroup",
        },
        id_from="DBClusterIdentifier",
        attributes=_neptune,
    ),
    "AWS::Neptune::DBInstance": Recorded(
        ("DBInstanceClass",),
        {"DBClusterIdentifier": "AWS::Neptune::DBCluster", "DBParameterGroupName": "AWS::Neptune::DBParameterGroup"},
        id_from="DBInstanceIdentifier",
    ),
    "AWS::SecretsManager::RotationSchedule": Recorded(("SecretId",)),
    "AWS::WAFv2::LoggingConfiguration": Recorded(("LogDestinationConfigs", "ResourceArn"), id_from="ResourceArn"),
}
# What is there of each recorded type, by its physical id.
_there: dict[str, dict[str, Properties]] = {type_: {} for type_ in RECORDED}


def recorded(type_: str, name: str, property_: str) -> Any:
    """A property of what was kept; nothing where it is not there."""
    return _there[type_].get(name, {}).get(property_)


def _kept(type_: str, recorded: Recorded) -> dict[str, Any]:
    there = _there[type_]

    def create(logical_id: str, properties: Properties, stack: str) -> Made:
        _look_over(type_, recorded, properties)
        name = str(properties.get(recorded.id_from or "") or f"{stack}-{logical_id}-{uuid4().hex[:12]}".lower())
        if name in there:
            raise ValueError(f"{name} already exists")
        there[name] = properties
        return name, recorded.attributes(name)

    def update(physical_id: str, old: Properties, new: Properties, stack: str, logical_id: str) -> Made:
        if recorded.id_from and old.get(recorded.id_from) != new.get(recorded.id_from):
            return create(logical_id, new, stack)  # The one before goes when the stack is cleaned up.
        _look_over(type_, recorded, new)
        there[physical_id] = new
        return physical_id, recorded.attributes(physical_id)

    def delete(physical_id: str, _: Properties) -> None:
        there.pop(physical_id, None)

    return {"create": create, "update": update, "update_with_logical_id": True, "delete": delete}


def _look_over(type_: str, recorded: Recorded, properties: Properties) -> None:
    missing = [name for name in recorded.needs if properties.get(name) in (None, "", [], {})]
    if missing:
        raise ValueError(f"{type_}: {', '.join(missing)} is missing")
    for name, other in recorded.names.items():
        if properties.get(name) and properties[name] not in _there[other]:
            raise ValueError(f"{type_}: {name} names no {other}: {properties[name]}")


def _called() -> dict[str, dict[str, Any]]:
    """Types whose service the emulator has. To change one is to replace it, as it is for most of them on AWS."""
    return {
        "AWS::EC2::EIP": _replaced(_address_create, _ec2_delete("ReleaseAddress", "AllocationId", _allocation)),
        "AWS::EC2::EIPAssociation": _replaced(
            _association_of_address_create, _ec2_delete("DisassociateAddress", "AssociationId")
        ),
        "AWS::EC2::NatGateway": _replaced(_gateway_create, _ec2_delete("DeleteNatGateway", "NatGatewayId")),
        "AWS::EC2::NetworkInterface": _replaced(
            _interface_create, _ec2_delete("DeleteNetworkInterface", "NetworkInterfaceId")
        ),
        "AWS::EC2::Volume": _replaced(_volume_create, _ec2_delete("DeleteVolume", "VolumeId"))
        | {"snapshot": _volume_snapshot},
        "AWS::EC2::FlowLog": _replaced(_flow_log_create, _ec2_delete("DeleteFlowLogs", "FlowLogId.1")),
        "AWS::EC2::SecurityGroupIngress": _replaced(_rule_create("Ingress"), _rule_delete("Ingress")),
        "AWS::EC2::SecurityGroupEgress": _replaced(_rule_create("Egress"), _rule_delete("Egress")),
        "AWS::Backup::BackupSelection": _replaced(_selection_create, _selection_delete),
        "AWS::WAFv2::WebACLAssociation": _replaced(_association_create, _association_delete),
        "AWS::ECS::ClusterCapacityProviderAssociations": _replaced(_providers_create, _providers_delete),
    }


def _replaced(
    create: Callable[[str, Properties, str], Made], delete: Callable[[str, Properties], None]
) -> dict[str, Any]:
    return {"create": create, "delete": delete}


def _ec2_delete(action: str, parameter: str, of: Callable[[str], str] = str) -> Callable[[str, Properties], None]:
    def delete(physical_id: str, _: Properties) -> None:
        calls.ec2_call(action, {parameter: of(physical_id)})

    return delete


def _address_create(_: str, properties: Properties, __: str) -> Made:
    made = calls.ec2_call("AllocateAddress", {"Domain": properties.get("Domain", "vpc")})
    address, allocation = calls.tag(made, "publicIp"), calls.tag(made, "allocationId")
    # Ref is the address, and it is given back by its allocation.
    return f"{address}|{allocation}", {"AllocationId": allocation, "PublicIp": address}


def _allocation(physical_id: str) -> str:
    return physical_id.partition("|")[2]


def _association_of_address_create(_: str, properties: Properties, __: str) -> Made:
    made = calls.ec2_call("AssociateAddress", properties)
    return calls.tag(made, "associationId"), {}


def _gateway_create(_: str, properties: Properties, __: str) -> Made:
    made = calls.ec2_call("CreateNatGateway", properties)
    return calls.tag(made, "natGatewayId"), {}


def _interface_create(_: str, properties: Properties, __: str) -> Made:
    made = calls.ec2_call(
        "CreateNetworkInterface",
        {
            "SubnetId": properties["SubnetId"],
            "Description": properties.get("Description"),
            "SecurityGroupId": properties.get("GroupSet", []),
        },
    )
    return calls.tag(made, "networkInterfaceId"), {"PrimaryPrivateIpAddress": calls.tag(made, "privateIpAddress")}


def _volume_create(_: str, properties: Properties, __: str) -> Made:
    made = calls.ec2_call("CreateVolume", {name: properties.get(name) for name in _VOLUME})
    return calls.tag(made, "volumeId"), {}


def _volume_snapshot(physical_id: str, _: Properties) -> None:
    calls.ec2_call("CreateSnapshot", {"VolumeId": physical_id})


def _flow_log_create(_: str, properties: Properties, __: str) -> Made:
    made = calls.ec2_call(
        "CreateFlowLogs",
        {
            "ResourceId": [properties["ResourceId"]],
            "ResourceType": properties["ResourceType"],
            "TrafficType": properties.get("TrafficType"),
            "LogDestinationType": properties.get("LogDestinationType"),
            "LogGroupName": properties.get("LogGroupName"),
        },
    )
    return calls.tag(made, "item"), {}


def _rule_create(way: str) -> Callable[[str, Properties, str], Made]:
    def create(_: str, properties: Properties, __: str) -> Made:
        made = calls.ec2_call(
            f"AuthorizeSecurityGroup{way}",
            {"GroupId": properties["GroupId"], "IpPermissions": [_permission(properties)]},
        )
        identifier = calls.tag(made, "securityGroupRuleId")
        return identifier, {"Id": identifier}

    return create


def _rule_delete(way: str) -> Callable[[str, Properties], None]:
    def delete(physical_id: str, properties: Properties) -> None:
        calls.ec2_call(
            f"RevokeSecurityGroup{way}", {"GroupId": properties["GroupId"], "SecurityGroupRuleId": [physical_id]}
        )

    return delete


def _permission(properties: Properties) -> dict[str, Any]:
    """A rule in the form of the API, which the template's is not."""
    about = {"Description": properties.get("Description")}
    found: dict[str, Any] = {name: properties.get(name) for name in ("IpProtocol", "FromPort", "ToPort")}
    if address := properties.get("CidrIp"):
        found["IpRanges"] = [{"CidrIp": address, **about}]
    if group := properties.get("SourceSecurityGroupId") or properties.get("DestinationSecurityGroupId"):
        found["Groups"] = [{"GroupId": group, **about}]
    if prefixes := properties.get("SourcePrefixListId") or properties.get("DestinationPrefixListId"):
        found["PrefixListIds"] = [{"PrefixListId": prefixes, **about}]
    return found


def _selection_create(_: str, properties: Properties, __: str) -> Made:
    plan = properties["BackupPlanId"]
    made = calls.backup_select(plan, properties["BackupSelection"])
    return made, {"SelectionId": made, "BackupPlanId": plan}


def _selection_delete(physical_id: str, properties: Properties) -> None:
    calls.backup_deselect(properties["BackupPlanId"], physical_id)


def _association_create(_: str, properties: Properties, __: str) -> Made:
    calls.waf_associate(properties["WebACLArn"], properties["ResourceArn"])
    return f"{properties['WebACLArn']}|{properties['ResourceArn']}", {}


def _association_delete(_: str, properties: Properties) -> None:
    calls.waf_dissociate(properties["ResourceArn"])


def _providers_create(_: str, properties: Properties, __: str) -> Made:
    cluster = properties["Cluster"]
    strategy = [{name[0].lower() + name[1:]: value for name, value in one.items()}
                for one in properties.get("DefaultCapacityProviderStrategy", [])]  # fmt: skip
    calls.ecs_providers(cluster, properties["CapacityProviders"], strategy)
    return cluster, {}


def _providers_delete(physical_id: str, _: Properties) -> None:
    calls.ecs_providers(physical_id, [], [])
