"""What costs nothing, and why: a type that is neither here nor priced is told as missing from an estimate."""

from __future__ import annotations

from collections.abc import Mapping

_PARTS = "It is a part of what is priced."
_NETWORK = "AWS takes nothing for the form of a network."
_ACCESS = "AWS takes nothing for roles and policies."

FREE: Mapping[str, str] = {
    "AWS::ApplicationAutoScaling::ScalableTarget": "Scaling is free; its alarms and tasks are not, and are priced.",
    "AWS::Backup::BackupSelection": _PARTS,
    "AWS::Backup::BackupVault": "What is in it is priced with the plan.",
    "AWS::Batch::ComputeEnvironment": "Batch is free; what it runs is priced with the job.",
    "AWS::Batch::JobQueue": "Batch is free; what it runs is priced with the job.",
    "AWS::CertificateManager::Certificate": "Public certificates are free.",
    "AWS::EC2::EIPAssociation": _NETWORK,
    "AWS::EC2::FlowLog": "What it writes is priced with its log group.",
    "AWS::EC2::InternetGateway": _NETWORK,
    "AWS::EC2::LaunchTemplate": "The host is priced with its group.",
    "AWS::EC2::NetworkInterface": _NETWORK,
    "AWS::EC2::Route": _NETWORK,
    "AWS::EC2::RouteTable": _NETWORK,
    "AWS::EC2::SecurityGroup": _NETWORK,
    "AWS::EC2::SecurityGroupEgress": _NETWORK,
    "AWS::EC2::SecurityGroupIngress": _NETWORK,
    "AWS::EC2::Subnet": _NETWORK,
    "AWS::EC2::SubnetRouteTableAssociation": _NETWORK,
    "AWS::EC2::VPCGatewayAttachment": _NETWORK,
    "AWS::ECS::Cluster": "Container Insights, which would cost, is off; tasks are priced with their services.",
    "AWS::ECS::ClusterCapacityProviderAssociations": _PARTS,
    "AWS::ECS::TaskDefinition": "It is priced with its service, schedule or job; a migration runs for minutes.",
    "AWS::EFS::AccessPoint": _PARTS,
    "AWS::EFS::MountTarget": _PARTS,
    "AWS::ElastiCache::ParameterGroup": _PARTS,
    "AWS::ElastiCache::SubnetGroup": _PARTS,
    "AWS::ElastiCache::User": _PARTS,
    "AWS::ElastiCache::UserGroup": _PARTS,
    "AWS::ElasticLoadBalancingV2::Listener": _PARTS,
    "AWS::ElasticLoadBalancingV2::ListenerRule": _PARTS,
    "AWS::ElasticLoadBalancingV2::TargetGroup": _PARTS,
    "AWS::IAM::InstanceProfile": _ACCESS,
    "AWS::IAM::Role": _ACCESS,
    "AWS::KMS::Alias": _PARTS,
    "AWS::Neptune::DBClusterParameterGroup": _PARTS,
    "AWS::Neptune::DBParameterGroup": _PARTS,
    "AWS::Neptune::DBSubnetGroup": _PARTS,
    "AWS::RDS::DBParameterGroup": _PARTS,
    "AWS::RDS::DBSubnetGroup": _PARTS,
    "AWS::Route53::RecordSet": "The zone is the owner's already, and asking for an alias of a balancer is free.",
    "AWS::S3::BucketPolicy": _ACCESS,
    "AWS::Scheduler::ScheduleGroup": _PARTS,
    "AWS::SecretsManager::RotationSchedule": "A function that runs some seconds a month: less than a cent.",
    "AWS::ServiceDiscovery::Instance": "Two names that never change, asked for by DNS: cents at most.",
    "AWS::ServiceDiscovery::Service": "Its zone is priced with the namespace.",
    "AWS::SNS::Subscription": "A thousand e-mails a month are free; alarms that go off so often are another problem.",
    "AWS::SNS::Topic": "A million messages a month are free.",
    "AWS::SNS::TopicPolicy": _ACCESS,
    "AWS::WAFv2::LoggingConfiguration": "What it writes is priced with its log group.",
    "AWS::WAFv2::WebACLAssociation": _PARTS,
}
