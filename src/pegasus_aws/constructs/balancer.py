"""The one thing that the internet sees: the balancer, its certificate and its name."""

from __future__ import annotations

from troposphere import GetAtt, Ref, Split
from troposphere.certificatemanager import Certificate, DomainValidationOption
from troposphere.elasticloadbalancingv2 import (
    Action,
    Condition,
    FixedResponseConfig,
    HostHeaderConfig,
    Listener,
    ListenerRule,
    ListenerRuleAction,
    LoadBalancer,
    LoadBalancerAttributes,
    Matcher,
    RedirectConfig,
    TargetGroup,
    TargetGroupAttribute,
)
from troposphere.elasticloadbalancingv2 import Certificate as ListenerCertificate
from troposphere.route53 import AliasTarget, RecordSetType

from pegasus_aws import application
from pegasus_aws.constructs.reach import group
from pegasus_aws.constructs.stack import Stack, because
from pegasus_aws.reachability import HTTPS_PORT

# Streams say something every 15 s from before their first word, so a minute would do; this is for slow uploads.
_IDLE_SECONDS = 120
# A task that is stopped answers what it has in hand; a little longer than PEGASUS_DRAIN_SECONDS.
_DRAIN_SECONDS = 75


def balancer(stack: Stack) -> LoadBalancer:
    environment = stack.environment
    made = stack.add(
        LoadBalancer(
            "Balancer",
            Type="application",
            Scheme="internet-facing",
            Subnets=Split(",", stack.take("network", "PublicSubnets")),
            SecurityGroups=[stack.take("network", group("balancer"))],
            LoadBalancerAttributes=[
                LoadBalancerAttributes(Key=name, Value=value)
                for name, value in {
                    "idle_timeout.timeout_seconds": str(_IDLE_SECONDS),
                    "deletion_protection.enabled": str(environment.protected).lower(),
                    "routing.http.drop_invalid_header_fields.enabled": "true",
                    "routing.http.desync_mitigation_mode": "strictest",
                    "access_logs.s3.enabled": "true",
                    "access_logs.s3.bucket": stack.take("data", "LogsBucket"),
                    "access_logs.s3.prefix": "balancer",
                }.items()
            ],
            **(
                {}
                if environment.protected
                else {"Metadata": because(CKV_AWS_150="protected is off in this environment.")}
            ),
        )
    )
    _certificate(stack)
    _targets(stack)
    _listeners(stack)
    stack.give("BalancerName", GetAtt(made, "LoadBalancerFullName"))
    stack.give("Targets", Ref("Targets"))
    stack.give("TargetsName", GetAtt("Targets", "TargetGroupFullName"))
    return made


def _certificate(stack: Stack) -> None:
    """ACM waits until the record can be read: the zone is there before, and never made in here."""
    environment = stack.environment
    stack.add(
        Certificate(
            "Certificate",
            DomainName=environment.domain,
            ValidationMethod="DNS",
            DomainValidationOptions=[
                DomainValidationOption(DomainName=environment.domain, HostedZoneId=environment.hosted_zone_id)
            ],
        )
    )
    stack.add(
        RecordSetType(
            "Name",
            Name=environment.domain,
            Type="A",
            HostedZoneId=environment.hosted_zone_id,
            AliasTarget=AliasTarget(
                DNSName=GetAtt("Balancer", "DNSName"),
                HostedZoneId=GetAtt("Balancer", "CanonicalHostedZoneID"),
                EvaluateTargetHealth=False,
            ),
        )
    )


def _targets(stack: Stack) -> None:
    stack.add(
        TargetGroup(
            "Targets",
            VpcId=stack.take("network", "Vpc"),
            TargetType="ip",
            Protocol="HTTP",
            Port=application.PORT,
            HealthCheckPath="/health",
            HealthCheckIntervalSeconds=15,
            HealthCheckTimeoutSeconds=5,
            HealthyThresholdCount=2,
            UnhealthyThresholdCount=3,
            Matcher=Matcher(HttpCode="200"),
            TargetGroupAttributes=[
                TargetGroupAttribute(Key=name, Value=value)
                for name, value in {
                    "deregistration_delay.timeout_seconds": str(_DRAIN_SECONDS),
                    "load_balancing.algorithm.type": "least_outstanding_requests",
                }.items()
            ],
            Metadata=because(
                CKV_AWS_378="TLS ends at the balancer; from there it is one hop in a private network, which only the "
                "balancer's security group may take."
            ),
        )
    )


def _listeners(stack: Stack) -> None:
    stack.add(
        Listener(
            "Http",
            LoadBalancerArn=Ref("Balancer"),
            Port=80,
            Protocol="HTTP",
            DefaultActions=[
                Action(
                    Type="redirect",
                    RedirectConfig=RedirectConfig(Protocol="HTTPS", Port=str(HTTPS_PORT), StatusCode="HTTP_301"),
                )
            ],
        )
    )
    stack.add(
        Listener(
            "Https",
            LoadBalancerArn=Ref("Balancer"),
            Port=HTTPS_PORT,
            Protocol="HTTPS",
            SslPolicy="ELBSecurityPolicy-TLS13-1-2-2021-06",
            Certificates=[ListenerCertificate(CertificateArn=Ref("Certificate"))],
            # Whoever scans addresses learns nothing: only the name is let through.
            DefaultActions=[
                Action(
                    Type="fixed-response",
                    FixedResponseConfig=FixedResponseConfig(
                        StatusCode="421", ContentType="text/plain", MessageBody="No."
                    ),
                )
            ],
        )
    )
    stack.add(
        ListenerRule(
            "ByName",
            ListenerArn=Ref("Https"),
            Priority=1,
            Conditions=[
                Condition(Field="host-header", HostHeaderConfig=HostHeaderConfig(Values=[stack.environment.domain]))
            ],
            Actions=[ListenerRuleAction(Type="forward", TargetGroupArn=Ref("Targets"))],
        )
    )
