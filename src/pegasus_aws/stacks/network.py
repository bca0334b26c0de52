"""The network: addresses, ways in and out, and who may talk to whom. It outlives everything else."""

from __future__ import annotations

from ipaddress import IPv4Network

from troposphere import GetAtt, GetAZs, Join, Ref, Select, Sub
from troposphere.ec2 import (
    EIP,
    VPC,
    FlowLog,
    InternetGateway,
    NatGateway,
    Route,
    RouteTable,
    Subnet,
    SubnetRouteTableAssociation,
    VPCEndpoint,
    VPCGatewayAttachment,
)

from pegasus_aws.constructs.iam import allow, arn, role
from pegasus_aws.constructs.logs import log_group
from pegasus_aws.constructs.reach import group, security_groups
from pegasus_aws.constructs.stack import Stack, because
from pegasus_aws.environments import Environment
from pegasus_aws.names import title

_ZONES = "abc"


def network(environment: Environment) -> Stack:
    stack = Stack(environment, "network", "addresses, ways in and out, who may talk to whom")
    vpc = stack.add(VPC("Vpc", CidrBlock=environment.network.cidr, EnableDnsSupport=True, EnableDnsHostnames=True))
    stack.give("Vpc", Ref(vpc))
    _subnets(stack)
    _ways_out(stack)
    _endpoints(stack)
    _flow_logs(stack)
    security_groups(stack, Ref(vpc))
    return stack


def _subnets(stack: Stack) -> None:
    """Three tiers in each zone: public for the balancer, private for tasks, and stores that no route leads out of."""
    # A /20 each, in the same order in every environment, so that a third zone moves none of the others.
    blocks = list(IPv4Network(stack.environment.network.cidr).subnets(new_prefix=20))
    stack.add(InternetGateway("InternetGateway"))
    stack.add(VPCGatewayAttachment("Attachment", VpcId=Ref("Vpc"), InternetGatewayId=Ref("InternetGateway")))
    for tier, first in (("public", 0), ("private", 4), ("store", 8)):
        zones = _ZONES[: stack.environment.network.zones]
        for number, zone in enumerate(zones):
            subnet = Subnet(
                title(tier, "subnet", zone),
                VpcId=Ref("Vpc"),
                CidrBlock=str(blocks[first + number]),
                AvailabilityZone=Select(number, GetAZs("")),
                MapPublicIpOnLaunch=False,
            )
            table = RouteTable(title(tier, "routes", zone), VpcId=Ref("Vpc"))
            stack.add(subnet)
            stack.add(table)
            stack.add(
                SubnetRouteTableAssociation(
                    title(tier, "route", "association", zone), SubnetId=Ref(subnet), RouteTableId=Ref(table)
                )
            )
        stack.give(title(tier, "subnets"), _of_all_zones(stack, tier))
    stack.give("FirstZone", Select(0, GetAZs("")))
    for name, tier in (("FirstPublicSubnet", "public"), ("FirstPrivateSubnet", "private")):
        stack.give(name, Ref(title(tier, "subnet", "a")))
    # Tasks without a NAT gateway are in the public tier; only they open connections, their groups let none in.
    stack.give("TaskSubnets", _of_all_zones(stack, "private" if stack.environment.network.nat_gateways else "public"))


def _of_all_zones(stack: Stack, tier: str) -> Join:
    return Join(",", [Ref(title(tier, "subnet", zone)) for zone in _ZONES[: stack.environment.network.zones]])


def _ways_out(stack: Stack) -> None:
    gateways = stack.environment.network.nat_gateways
    for zone in _ZONES[:gateways]:
        address = stack.add(EIP(title("nat", "address", zone), Domain="vpc", DependsOn="Attachment"))
        stack.add(
            NatGateway(
                title("nat", zone),
                SubnetId=Ref(title("public", "subnet", zone)),
                AllocationId=GetAtt(address, "AllocationId"),
            )
        )
    for zone in _ZONES[: stack.environment.network.zones]:
        stack.add(
            Route(
                title("public", "way", "out", zone),
                RouteTableId=Ref(title("public", "routes", zone)),
                DestinationCidrBlock="0.0.0.0/0",
                GatewayId=Ref("InternetGateway"),
                DependsOn="Attachment",
            )
        )
        if gateways:
            stack.add(
                Route(
                    title("private", "way", "out", zone),
                    RouteTableId=Ref(title("private", "routes", zone)),
                    DestinationCidrBlock="0.0.0.0/0",
                    NatGatewayId=Ref(title("nat", zone if gateways > 1 else "a")),
                )
            )


def _endpoints(stack: Stack) -> None:
    """S3's door is free. The others cost more than a NAT gateway when there are several, so they stand in for none."""
    zones = _ZONES[: stack.environment.network.zones]
    stack.add(
        VPCEndpoint(
            "S3Endpoint",
            VpcId=Ref("Vpc"),
            VpcEndpointType="Gateway",
            ServiceName=Sub("com.amazonaws.${AWS::Region}.s3"),
            RouteTableIds=[
                Ref(title(tier, "routes", zone)) for tier in ("public", "private", "store") for zone in zones
            ],
        )
    )
    if stack.environment.network.nat_gateways:
        return
    # The function that rotates passwords has no public address, as none of Lambda's has.
    for service in ("secretsmanager", "rds"):
        stack.add(
            VPCEndpoint(
                title(service, "endpoint"),
                VpcId=Ref("Vpc"),
                VpcEndpointType="Interface",
                ServiceName=Sub(f"com.amazonaws.${{AWS::Region}}.{service}"),
                PrivateDnsEnabled=True,
                SubnetIds=[Ref("PrivateSubnetA")],
                SecurityGroupIds=[Ref(group("endpoints"))],
            )
        )


def _flow_logs(stack: Stack) -> None:
    logs = log_group(
        stack,
        "FlowLogs",
        "flows",
        Metadata=because(
            CKV_AWS_158="Addresses and ports, no content; CloudWatch encrypts them with a key of its own. The network "
            "is there before the data, whose key the other groups have."
        ),
    )
    writer = stack.add(
        role(
            "FlowLogsRole",
            "vpc-flow-logs.amazonaws.com",
            allow("logs:CreateLogStream logs:PutLogEvents logs:DescribeLogStreams", GetAtt(logs, "Arn")),
            allow("logs:DescribeLogGroups", arn("logs:${AWS::Region}:${AWS::AccountId}:log-group:*")),
        )
    )
    stack.add(
        FlowLog(
            "Flows",
            ResourceId=Ref("Vpc"),
            ResourceType="VPC",
            TrafficType=stack.environment.network.flow_logs,
            LogDestinationType="cloud-watch-logs",
            LogGroupName=Ref(logs),
            DeliverLogsPermissionArn=GetAtt(writer, "Arn"),
            MaxAggregationInterval=600,
        )
    )
