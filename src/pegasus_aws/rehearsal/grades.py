"""What a rehearsal proves of each resource type of the templates, as data.

- *run*: something acts on it, and would fail if it were wrong in what is told of it here. For much of it that takes a
  container engine.
- *recorded*: it is made, changed, shown and deleted by CloudFormation's rules, and nothing acts on it.
- *not provable here*: recorded too, and that it works can only be seen in an account of AWS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Level = Literal["run", "recorded", "not provable here"]


@dataclass(frozen=True, slots=True)
class Grade:
    level: Level
    why: str


def _run(why: str) -> Grade:
    return Grade("run", why)


def _recorded(why: str) -> Grade:
    return Grade("recorded", why)


def _not_provable(why: str) -> Grade:
    return Grade("not provable here", why)


_NO_PACKETS = _not_provable("No packet takes this way: routes, gateways and security groups are kept as written.")
_NO_BACKUPS = _recorded("Nothing is backed up on a schedule.")
_NO_BATCH = _recorded("No job is run in Batch.")
_NO_NEPTUNE = _not_provable("There is no Neptune but AWS's.")
_NO_FIREWALL = _not_provable("No request is looked at by AWS's managed rules.")
_NO_CLOCK = _recorded("Nothing is started by the clock; the schedules are kept as written.")
_NO_SCALING = _recorded("No load is measured, so nothing is scaled.")
_SETTINGS = _recorded("The settings are kept as written; no store is started with them.")
_NO_ENCRYPTION = _recorded("Keys have their policies and names; what is stored is not encrypted with them.")
_NO_NAMES = _recorded("Names are registered; nobody looks them up.")
_NO_INSTANCE = _not_provable("No EC2 instance is started, so the script that starts Neo4j on it does not run.")
_NO_CONTAINER = _recorded("Revisions, services and deployments are kept and told apart; no container is started.")
_NO_BALANCING = _recorded("Listeners, rules and targets are kept; no target is there to answer.")
_NO_DISK = _recorded("File system, access point and mounts are kept; nothing is written.")

_WITHOUT_ENGINE: Mapping[str, Grade] = {
    "AWS::ApplicationAutoScaling::ScalableTarget": _NO_SCALING,
    "AWS::ApplicationAutoScaling::ScalingPolicy": _NO_SCALING,
    "AWS::AutoScaling::AutoScalingGroup": _NO_INSTANCE,
    "AWS::Backup::BackupPlan": _NO_BACKUPS,
    "AWS::Backup::BackupSelection": _NO_BACKUPS,
    "AWS::Backup::BackupVault": _NO_BACKUPS,
    "AWS::Batch::ComputeEnvironment": _NO_BATCH,
    "AWS::Batch::JobDefinition": _NO_BATCH,
    "AWS::Batch::JobQueue": _NO_BATCH,
    "AWS::CertificateManager::Certificate": _not_provable("It is issued at once; on AWS that waits for public DNS."),
    "AWS::CloudWatch::Alarm": _recorded("It goes off when it is told to, not by numbers."),
    "AWS::EC2::EIP": _NO_PACKETS,
    "AWS::EC2::EIPAssociation": _NO_PACKETS,
    "AWS::EC2::FlowLog": _NO_PACKETS,
    "AWS::EC2::InternetGateway": _NO_PACKETS,
    "AWS::EC2::LaunchTemplate": _NO_INSTANCE,
    "AWS::EC2::NatGateway": _NO_PACKETS,
    "AWS::EC2::NetworkInterface": _NO_INSTANCE,
    "AWS::EC2::Route": _NO_PACKETS,
    "AWS::EC2::RouteTable": _NO_PACKETS,
    "AWS::EC2::SecurityGroup": _NO_PACKETS,
    "AWS::EC2::SecurityGroupEgress": _NO_PACKETS,
    "AWS::EC2::SecurityGroupIngress": _NO_PACKETS,
    "AWS::EC2::Subnet": _NO_PACKETS,
    "AWS::EC2::SubnetRouteTableAssociation": _NO_PACKETS,
    "AWS::EC2::VPC": _NO_PACKETS,
    "AWS::EC2::VPCEndpoint": _NO_PACKETS,
    "AWS::EC2::VPCGatewayAttachment": _NO_PACKETS,
    "AWS::EC2::Volume": _NO_INSTANCE,
    "AWS::ECR::Repository": _recorded("Images are not pushed."),
    "AWS::ECS::Cluster": _NO_CONTAINER,
    "AWS::ECS::ClusterCapacityProviderAssociations": _recorded("All tasks are this machine's; there is no Spot."),
    "AWS::ECS::Service": _NO_CONTAINER,
    "AWS::ECS::TaskDefinition": _NO_CONTAINER,
    "AWS::EFS::AccessPoint": _NO_DISK,
    "AWS::EFS::FileSystem": _NO_DISK,
    "AWS::EFS::MountTarget": _NO_DISK,
    "AWS::ElastiCache::ParameterGroup": _SETTINGS,
    "AWS::ElastiCache::ReplicationGroup": _SETTINGS,
    "AWS::ElastiCache::SubnetGroup": _NO_PACKETS,
    "AWS::ElastiCache::User": _SETTINGS,
    "AWS::ElastiCache::UserGroup": _SETTINGS,
    "AWS::ElasticLoadBalancingV2::Listener": _NO_BALANCING,
    "AWS::ElasticLoadBalancingV2::ListenerRule": _NO_BALANCING,
    "AWS::ElasticLoadBalancingV2::LoadBalancer": _NO_BALANCING,
    "AWS::ElasticLoadBalancingV2::TargetGroup": _NO_BALANCING,
    "AWS::IAM::InstanceProfile": _NO_INSTANCE,
    "AWS::IAM::Role": _not_provable("Whether a role suffices: nothing is refused for the lack of a permission."),
    "AWS::KMS::Alias": _NO_ENCRYPTION,
    "AWS::KMS::Key": _NO_ENCRYPTION,
    "AWS::Logs::LogGroup": _recorded("The groups are there with their retention; nothing is written to them."),
    "AWS::Logs::MetricFilter": _recorded("Filters are kept; no log is read by them."),
    "AWS::Neptune::DBCluster": _NO_NEPTUNE,
    "AWS::Neptune::DBClusterParameterGroup": _NO_NEPTUNE,
    "AWS::Neptune::DBInstance": _NO_NEPTUNE,
    "AWS::Neptune::DBParameterGroup": _NO_NEPTUNE,
    "AWS::Neptune::DBSubnetGroup": _NO_NEPTUNE,
    "AWS::RDS::DBInstance": _SETTINGS,
    "AWS::RDS::DBParameterGroup": _SETTINGS,
    "AWS::RDS::DBSubnetGroup": _NO_PACKETS,
    "AWS::Route53::RecordSet": _run("Requests for the domain's name go where its record points."),
    "AWS::S3::Bucket": _run("Objects are written and read, and a bucket with objects is not deleted."),
    "AWS::S3::BucketPolicy": _not_provable("Whether a policy keeps out whom it should: nobody is refused."),
    "AWS::SNS::Subscription": _recorded("No mail is sent."),
    "AWS::SNS::Topic": _recorded("It is told of alarms; nobody listens."),
    "AWS::SNS::TopicPolicy": _not_provable("Whether a policy keeps out whom it should: nobody is refused."),
    "AWS::Scheduler::Schedule": _NO_CLOCK,
    "AWS::Scheduler::ScheduleGroup": _NO_CLOCK,
    "AWS::SecretsManager::RotationSchedule": _not_provable("The function that changes passwords is AWS's own."),
    "AWS::SecretsManager::Secret": _run("Passwords are made, put together from other resources, and read."),
    "AWS::ServiceDiscovery::Instance": _NO_NAMES,
    "AWS::ServiceDiscovery::PrivateDnsNamespace": _NO_NAMES,
    "AWS::ServiceDiscovery::Service": _NO_NAMES,
    "AWS::WAFv2::LoggingConfiguration": _NO_FIREWALL,
    "AWS::WAFv2::WebACL": _NO_FIREWALL,
    "AWS::WAFv2::WebACLAssociation": _NO_FIREWALL,
}

_CONTAINERS = _run("Tasks are containers with the definition's image, user, root, health check, secrets and volumes.")
_BALANCING = _run("Requests go to healthy targets by the listeners' rules, without TLS and without the firewall.")
_REDIS = _run("A Redis with TLS and the user that is described; of a cluster one node, which has all the keys.")
_DISK = _run("A volume for each access point, which outlives its tasks; nothing is mounted over a network.")
_NAMES = _run("Tasks find each other by their names.")

_WITH_ENGINE: Mapping[str, Grade] = {
    **_WITHOUT_ENGINE,
    "AWS::AutoScaling::AutoScalingGroup": _not_provable("No instance is started; a Neo4j stands at its address."),
    "AWS::CloudWatch::Alarm": _run("It goes off when it is told to, not by numbers; a deployment is then taken back."),
    "AWS::EC2::NetworkInterface": _run("The graph is reached at its address."),
    "AWS::ECR::Repository": _recorded("Nothing is pushed: what the engine has is in every repository."),
    "AWS::ECS::Cluster": _CONTAINERS,
    "AWS::ECS::Service": _run("Rolled out by health, within its percentages, and back by circuit breaker and alarms."),
    "AWS::ECS::TaskDefinition": _CONTAINERS,
    "AWS::EFS::AccessPoint": _DISK,
    "AWS::EFS::FileSystem": _DISK,
    "AWS::ElastiCache::ReplicationGroup": _REDIS,
    "AWS::ElastiCache::User": _REDIS,
    "AWS::ElastiCache::UserGroup": _REDIS,
    "AWS::ElasticLoadBalancingV2::Listener": _BALANCING,
    "AWS::ElasticLoadBalancingV2::ListenerRule": _BALANCING,
    "AWS::ElasticLoadBalancingV2::LoadBalancer": _BALANCING,
    "AWS::ElasticLoadBalancingV2::TargetGroup": _BALANCING,
    "AWS::Logs::LogGroup": _run("What containers print is in it; nothing ends by itself."),
    "AWS::RDS::DBInstance": _run("A PostgreSQL with TLS, the administrator's secret and the database; no standby."),
    "AWS::ServiceDiscovery::PrivateDnsNamespace": _NAMES,
    "AWS::ServiceDiscovery::Service": _NAMES,
}


def grades(*, engine: bool) -> Mapping[str, Grade]:
    """By resource type, with or without a container engine."""
    return _WITH_ENGINE if engine else _WITHOUT_ENGINE
