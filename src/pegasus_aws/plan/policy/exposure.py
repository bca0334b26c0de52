"""What can be reached from outside."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from pegasus_aws.plan.policy.system import Found, Json, System, rule


@rule("public-store", "Keep it private: PubliclyAccessible false, no public address, behind the balancer.")
def _public_store(system: System) -> Iterator[Found]:
    for stack, name, properties in system.of("AWS::RDS::DBInstance", "AWS::Neptune::DBInstance"):
        if properties.get("PubliclyAccessible") in (True, "true"):
            yield stack, name, "It has a public address."
    for stack, name, properties in system.of("AWS::ElasticLoadBalancingV2::LoadBalancer"):
        if properties.get("Scheme") == "internet-facing" and name != "Balancer":
            yield stack, name, "A second door to the internet."
    for stack, name, properties in system.of("AWS::EC2::Subnet"):
        if properties.get("MapPublicIpOnLaunch") in (True, "true"):
            yield stack, name, "Whatever starts in it gets a public address."


@rule("open-port", "Let only the balancer take connections from anywhere; name a security group as the source.")
def _open_port(system: System) -> Iterator[Found]:
    balancer = {"Ref": "BalancerSecurityGroup"}
    for stack, name, properties in system.of("AWS::EC2::SecurityGroupIngress"):
        if _anywhere(properties) and properties.get("GroupId") != balancer:
            yield stack, name, f"Port {properties.get('FromPort')} is open to anybody."
    for stack, name, properties in system.of("AWS::EC2::SecurityGroup"):
        for ingress in properties.get("SecurityGroupIngress", []):
            if _anywhere(ingress):
                yield stack, name, f"Port {ingress.get('FromPort')} is open to anybody."


def _anywhere(rule_: Json) -> bool:
    return "0.0.0.0/0" in json.dumps(rule_) or "::/0" in json.dumps(rule_)


@rule("standalone-rules", "Make each rule a resource of its own: reachability.py has the table.")
def _standalone_rules(system: System) -> Iterator[Found]:
    for stack, name, properties in system.of("AWS::EC2::SecurityGroup"):
        inner = [*properties.get("SecurityGroupIngress", []), *properties.get("SecurityGroupEgress", [])]
        if any("SecurityGroupId" in key for one in inner for key in one):
            yield stack, name, "Groups that name each other within themselves cannot be made."
        if not properties.get("SecurityGroupEgress"):
            yield stack, name, "Without a rule for the way out it may reach everything."


@rule("public-bucket", "Block all four kinds of public access, and let the bucket own its objects.")
def _public_bucket(system: System) -> Iterator[Found]:
    wanted = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
    for stack, name, properties in system.of("AWS::S3::Bucket"):
        block = properties.get("PublicAccessBlockConfiguration", {})
        if any(block.get(one) not in (True, "true") for one in wanted) or "AccessControl" in properties:
            yield stack, name, "It could be opened to the public."


@rule("firewall", "Associate the firewall with the balancer, and redact the headers that carry keys from its log.")
def _firewall(system: System) -> Iterator[Found]:
    guarded = {json.dumps(one["ResourceArn"]) for _, _, one in system.of("AWS::WAFv2::WebACLAssociation")}
    for stack, name, _ in system.of("AWS::ElasticLoadBalancingV2::LoadBalancer"):
        if json.dumps({"Ref": name}) not in guarded:
            yield stack, name, "No firewall is before it."
    for stack, name, properties in system.of("AWS::WAFv2::LoggingConfiguration"):
        hidden = json.dumps(properties.get("RedactedFields", [])).lower()
        missing = [header for header in ("x-api-key", "authorization") if header not in hidden]
        if missing:
            yield stack, name, f"Its log shows {', '.join(missing)}."


@rule("upload-exception", "Count the rules that look into bodies, and block by their labels outside the content paths.")
def _upload_exception(system: System) -> Iterator[Found]:
    for stack, name, properties in system.of("AWS::WAFv2::WebACL"):
        text = json.dumps(properties)
        if "AWSManagedRulesCommonRuleSet" in text and not re.search(
            r'"Name": "SizeRestrictions_BODY"', text.replace("'", '"')
        ):
            yield stack, name, "The core rule set refuses every upload of more than 8 KB."
