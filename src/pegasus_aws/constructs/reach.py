"""Security groups from the table of who talks to whom."""

from __future__ import annotations

from troposphere import AWSHelperFn, Ref
from troposphere.ec2 import SecurityGroup, SecurityGroupEgress, SecurityGroupIngress, SecurityGroupRule

from pegasus_aws.constructs.stack import Stack, because
from pegasus_aws.names import title
from pegasus_aws.reachability import HTTP_PORT, INTERNET, PARTIES, Flow, flows, parties

# A group without a rule for the way out gets one by default that allows all; this one allows nothing instead.
_NOTHING_OUT = {
    "CidrIp": "127.0.0.1/32", "IpProtocol": "-1", "Description": "Replaces the default, which allows everything",
}  # fmt: skip


def security_groups(stack: Stack, vpc: AWSHelperFn) -> None:
    """One group a party, and each rule a resource of its own.

    Groups that name each other within themselves could not be made: each would have to be there first. A changed rule
    is removed before it is added again, which is a gap in the traffic, so a rule's name has all that could change.
    """
    environment = stack.environment
    for party in parties(environment):
        made = SecurityGroup(
            group(party),
            GroupDescription=PARTIES[party],
            VpcId=vpc,
            SecurityGroupEgress=[SecurityGroupRule(**_NOTHING_OUT)],
        )
        stack.add(made)
        stack.give(made.title, Ref(made))
    for flow in flows(environment):
        _allow(stack, flow)


def group(party: str) -> str:
    return title(party, "security-group")


def _allow(stack: Stack, flow: Flow) -> None:
    name = title("from", flow.source, "to", flow.target, str(flow.port))
    rule = {"IpProtocol": "tcp", "FromPort": flow.port, "ToPort": flow.port, "Description": flow.why}
    if flow.target != INTERNET:
        source = (
            {"CidrIp": "0.0.0.0/0"} if flow.source == INTERNET else {"SourceSecurityGroupId": Ref(group(flow.source))}
        )
        made = SecurityGroupIngress(f"{name}In", GroupId=Ref(group(flow.target)), **rule, **source)
        if flow.source == INTERNET and flow.port == HTTP_PORT:
            made.Metadata = because(
                CKV_AWS_260="Who comes without TLS is sent to where there is some, and nowhere else."
            )
        stack.add(made)
    if flow.source != INTERNET:
        target = (
            {"CidrIp": "0.0.0.0/0"}
            if flow.target == INTERNET
            else {"DestinationSecurityGroupId": Ref(group(flow.target))}
        )
        stack.add(SecurityGroupEgress(f"{name}Out", GroupId=Ref(group(flow.source)), **rule, **target))
