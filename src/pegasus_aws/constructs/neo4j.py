"""The graph in Neo4j on one EC2 instance, whose disk and address outlive it."""

from __future__ import annotations

from typing import Any

from troposphere import Base64, GetAtt, Ref, Sub, Tags
from troposphere.autoscaling import AutoScalingGroup, LaunchTemplateSpecification, Tag
from troposphere.ec2 import (
    EIP,
    EBSBlockDevice,
    EIPAssociation,
    IamInstanceProfile,
    LaunchTemplate,
    LaunchTemplateBlockDeviceMapping,
    LaunchTemplateData,
    MetadataOptions,
    Monitoring,
    NetworkInterface,
    Volume,
)
from troposphere.ec2 import NetworkInterfaces as LaunchInterface
from troposphere.iam import InstanceProfile
from troposphere.policies import AutoScalingRollingUpdate, CreationPolicy, ResourceSignal, UpdatePolicy

from pegasus_aws import names
from pegasus_aws.constructs.iam import allow, arn, role
from pegasus_aws.constructs.keeping import BACKUP_TAG, SNAPSHOT
from pegasus_aws.constructs.reach import group
from pegasus_aws.constructs.secrets import composed, generated, resolved
from pegasus_aws.constructs.stack import Stack
from pegasus_aws.environments import Neo4j
from pegasus_aws.reachability import BOLT_PORT

_START = """#!/bin/bash
set -euo pipefail
trap 'cfn-signal --exit-code $? --stack ${AWS::StackName} --resource GraphHost --region ${AWS::Region}' EXIT
dnf install --assumeyes --quiet docker aws-cfn-bootstrap
instance=$(ec2-metadata --instance-id --quiet)
# The instance before this one may still be letting go of the disk.
for try in $(seq 60); do
  aws ec2 attach-volume --region ${AWS::Region} --volume-id ${GraphDisk} --instance-id $instance \\
    --device /dev/sdf && break
  sleep 5
done
name=${GraphDisk}
device=/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_${!name/-/}
for try in $(seq 60); do [ -e $device ] && break; sleep 2; done
blkid $device || mkfs.xfs $device
mkdir -p /graph
mount $device /graph
mkdir -p /graph/data /graph/certificates/bolt
cd /graph/certificates/bolt
[ -e private.key ] || openssl req -x509 -newkey rsa:3072 -nodes -days 3650 -subj /CN=graph.${Namespace} \\
  -keyout private.key -out public.crt
chown -R 7474:7474 /graph/data /graph/certificates
umask 077
password=$(aws secretsmanager get-secret-value --region ${AWS::Region} --secret-id ${GraphUserSecret.Id} \\
  --query SecretString --output text | python3 -c 'import json, sys; print(json.load(sys.stdin)["password"])')
printf 'NEO4J_AUTH=neo4j/%s\\n' "$password" > /run/neo4j.env
systemctl enable --now docker
docker run --detach --name neo4j --restart always --publish ${Port}:7687 --env-file /run/neo4j.env \\
  --volume /graph/data:/data --volume /graph/certificates:/var/lib/neo4j/certificates --user 7474:7474 \\
  --env NEO4J_server_bolt_tls__level=REQUIRED --env NEO4J_dbms_ssl_policy_bolt_enabled=true \\
  --env NEO4J_dbms_ssl_policy_bolt_base__directory=certificates/bolt \\
  --env NEO4J_dbms_ssl_policy_bolt_client__auth=NONE --env NEO4J_dbms_usage__report_enabled=false \\
  --log-driver json-file --log-opt max-size=50m --log-opt max-file=3 ${Image}
for try in $(seq 60); do (exec 3<>/dev/tcp/127.0.0.1/${Port}) && break; sleep 5; done
# Where it does not listen by now this fails, and with it the change of the stack.
exec 3<>/dev/tcp/127.0.0.1/${Port}
"""


def neo4j(stack: Stack, values: Neo4j, key: Any) -> None:
    """A group of one: a host that fails is replaced, and the next one takes over the disk and the address."""
    environment = stack.environment
    generated(stack, "GraphUserSecret", "neo4j-user", "The password of Neo4j", key, "password")
    _address(stack)
    _disk(stack, values, key)
    _may(stack, key)
    _host(stack, values)
    stack.give("GraphAddress", GetAtt("GraphAddress", "PrimaryPrivateIpAddress"))
    # Its certificate is its own, on its own disk: the traffic is encrypted, and the security group says who it is.
    composed(
        stack, "GraphSecret", "graph", f"Where Pegasus {environment.name} finds its graph", key,
        url=f"bolt+ssc://neo4j:{resolved('GraphUserSecret', 'password')}"
        f"@${{GraphAddress.PrimaryPrivateIpAddress}}:{BOLT_PORT}/neo4j",
    )  # fmt: skip


def _address(stack: Stack) -> None:
    behind_nat = stack.environment.network.nat_gateways > 0
    stack.add(
        NetworkInterface(
            "GraphAddress",
            Description="The address of Neo4j, whichever host it runs on",
            SubnetId=stack.take("network", "FirstPrivateSubnet" if behind_nat else "FirstPublicSubnet"),
            GroupSet=[stack.take("network", group("graph"))],
        )
    )
    if not behind_nat:
        stack.add(EIP("GraphWayOut", Domain="vpc"))
        stack.add(
            EIPAssociation(
                "GraphWayOutAssociation",
                AllocationId=GetAtt("GraphWayOut", "AllocationId"),
                NetworkInterfaceId=Ref("GraphAddress"),
            )
        )


def _disk(stack: Stack, values: Neo4j, key: Any) -> None:
    stack.add(
        Volume(
            "GraphDisk",
            AvailabilityZone=stack.take("network", "FirstZone"),
            Size=values.storage_gb,
            VolumeType="gp3",
            Encrypted=True,
            KmsKeyId=key,
            Tags=Tags(**{BACKUP_TAG: stack.environment.name}),
            **SNAPSHOT,
        )
    )


def _may(stack: Stack, key: Any) -> None:
    tagged = {"StringEquals": {"aws:ResourceTag/pegasus:graph": stack.environment.name}}
    stack.add(
        role(
            "GraphRole",
            "ec2.amazonaws.com",
            allow("ec2:AttachVolume", arn("ec2:${AWS::Region}:${AWS::AccountId}:volume/${GraphDisk}")),
            allow("ec2:AttachVolume", arn("ec2:${AWS::Region}:${AWS::AccountId}:instance/*"), tagged),
            allow("secretsmanager:GetSecretValue", GetAtt("GraphUserSecret", "Id")),
            allow("kms:Decrypt", key),
            # An encrypted disk is attached by way of a grant to EC2.
            allow("kms:CreateGrant", key, {"Bool": {"kms:GrantIsForAWSResource": "true"}}),
            allow("cloudformation:SignalResource", Ref("AWS::StackId")),
            # A shell without an open port or a key, for whoever has to look at it.
            managed=[Sub("arn:${AWS::Partition}:iam::aws:policy/AmazonSSMManagedInstanceCore")],
            condition={},
        )
    )
    stack.add(InstanceProfile("GraphProfile", Roles=[Ref("GraphRole")]))


def _host(stack: Stack, values: Neo4j) -> None:
    tag = {"pegasus:graph": stack.environment.name}
    stack.add(
        LaunchTemplate(
            "GraphLaunch",
            LaunchTemplateData=LaunchTemplateData(
                # Resolved when the template changes; a host that is replaced has the latest patches.
                ImageId="{{resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64}}",
                InstanceType=values.size,
                IamInstanceProfile=IamInstanceProfile(Arn=GetAtt("GraphProfile", "Arn")),
                NetworkInterfaces=[LaunchInterface(DeviceIndex=0, NetworkInterfaceId=Ref("GraphAddress"))],
                BlockDeviceMappings=[
                    LaunchTemplateBlockDeviceMapping(
                        DeviceName="/dev/xvda",
                        Ebs=EBSBlockDevice(VolumeSize=16, VolumeType="gp3", Encrypted=True, DeleteOnTermination=True),
                    )
                ],
                MetadataOptions=MetadataOptions(HttpTokens="required", HttpPutResponseHopLimit=1),
                Monitoring=Monitoring(Enabled=False),
                UserData=Base64(Sub(_START, Port=str(BOLT_PORT), Image=values.image, Namespace=names.NAMESPACE)),
            ),
        )
    )
    stack.add(
        AutoScalingGroup(
            "GraphHost",
            MinSize="0",
            MaxSize="1",
            DesiredCapacity="1",
            # With an interface of its own in the template a group is told the zone, not the subnet.
            AvailabilityZones=[stack.take("network", "FirstZone")],
            LaunchTemplate=LaunchTemplateSpecification(
                LaunchTemplateId=Ref("GraphLaunch"), Version=GetAtt("GraphLaunch", "LatestVersionNumber")
            ),
            HealthCheckType="EC2",
            HealthCheckGracePeriod=600,
            Tags=[Tag(name, value, True) for name, value in tag.items()],
            CreationPolicy=CreationPolicy(ResourceSignal=ResourceSignal(Count=1, Timeout="PT20M")),
            # The old host goes before the new one comes: the disk can be attached to one only.
            UpdatePolicy=UpdatePolicy(
                AutoScalingRollingUpdate=AutoScalingRollingUpdate(
                    MinInstancesInService=0, MaxBatchSize=1, WaitOnResourceSignals=True, PauseTime="PT20M"
                )
            ),
        )
    )
