"""The firewall before the balancer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from troposphere import GetAtt
from troposphere.logs import LogGroup
from troposphere.wafv2 import (
    AllowAction,
    AndStatement,
    BlockAction,
    ByteMatchStatement,
    CountAction,
    DefaultAction,
    FieldToMatch,
    LabelMatchStatement,
    LoggingConfiguration,
    ManagedRuleGroupStatement,
    NotStatement,
    OrStatement,
    OverrideAction,
    RateBasedStatement,
    RuleAction,
    RuleActionOverride,
    Statement,
    TextTransformation,
    VisibilityConfig,
    WebACL,
    WebACLAssociation,
    WebACLRule,
)

from pegasus_aws import application, names
from pegasus_aws.constructs.stack import Stack

# Rules that look into a body. In a second brain's bodies stands whatever people keep: pages, scripts, paths, logs of
# attacks, and more than the 8 KB that are looked into. So they only put a label on a request, and the last rule
# refuses what has one everywhere but where content is sent to.
# docs.aws.amazon.com/waf/latest/developerguide/web-acl-setting-body-inspection-limit.html
_BODY_RULES: Mapping[str, Mapping[str, str]] = {
    "AWSManagedRulesCommonRuleSet": {
        "SizeRestrictions_BODY": "core-rule-set:SizeRestrictions_Body",
        "CrossSiteScripting_BODY": "core-rule-set:CrossSiteScripting_Body",
        "GenericLFI_BODY": "core-rule-set:GenericLFI_Body",
        "GenericRFI_BODY": "core-rule-set:GenericRFI_Body",
        "EC2MetaDataSSRF_BODY": "core-rule-set:EC2MetaDataSSRF_Body",
    },
    "AWSManagedRulesKnownBadInputsRuleSet": {
        "Log4JRCE_BODY": "known-bad-inputs:Log4JRCE_Body",
        "JavaDeserializationRCE_BODY": "known-bad-inputs:JavaDeserializationRCE_Body",
    },
    "AWSManagedRulesAmazonIpReputationList": {},
}
_REQUESTS_OF_AN_ADDRESS = 10_000  # In five minutes. A key has limits of its own; this is for those without one.


def firewall(stack: Stack, balancer: Any, key: Any) -> None:
    rules = [_flood(0)]
    rules += [_managed(number, name, body) for number, (name, body) in enumerate(_BODY_RULES.items(), start=1)]
    rules.append(_bodies(len(rules)))
    stack.add(
        WebACL(
            "Firewall",
            Scope="REGIONAL",
            DefaultAction=DefaultAction(Allow=AllowAction()),
            VisibilityConfig=_seen("all"),
            Rules=rules,
        )
    )
    stack.add(WebACLAssociation("FirewallAssociation", ResourceArn=balancer, WebACLArn=GetAtt("Firewall", "Arn")))
    # WAF takes no other beginning for the name of a group.
    logs = stack.add(
        LogGroup(
            "FirewallLogs",
            LogGroupName=f"aws-waf-logs-{names.cluster(stack.environment)}",
            RetentionInDays=stack.environment.log_retention_days,
            KmsKeyId=key,
        )
    )
    # Without the redaction the keys of users would stand in the log; of what passes nothing is kept.
    logging = {
        "ResourceArn": GetAtt("Firewall", "Arn"),
        "LogDestinationConfigs": [GetAtt(logs, "Arn")],
        "RedactedFields": [{"SingleHeader": {"Name": name}} for name in ("x-api-key", "authorization", "cookie")],
        "LoggingFilter": {
            "DefaultBehavior": "DROP",
            "Filters": [
                {
                    "Behavior": "KEEP",
                    "Requirement": "MEETS_ANY",
                    "Conditions": [{"ActionCondition": {"Action": "BLOCK"}}],
                }
            ],
        },
    }
    stack.add(LoggingConfiguration.from_dict("FirewallLogging", logging))


def _seen(name: str) -> VisibilityConfig:
    # Samples would hold headers, and with them keys.
    return VisibilityConfig(CloudWatchMetricsEnabled=True, MetricName=f"pegasus-{name}", SampledRequestsEnabled=False)


def _rule(priority: int, name: str, statement: Statement, **action: Any) -> WebACLRule:
    return WebACLRule(Name=name, Priority=priority, Statement=statement, VisibilityConfig=_seen(name), **action)


def _flood(priority: int) -> WebACLRule:
    many = RateBasedStatement(AggregateKeyType="IP", Limit=_REQUESTS_OF_AN_ADDRESS)
    return _rule(priority, "flood", Statement(RateBasedStatement=many), Action=RuleAction(Block=BlockAction()))


def _managed(priority: int, name: str, body: Mapping[str, str]) -> WebACLRule:
    overrides = [RuleActionOverride(Name=rule, ActionToUse=RuleAction(Count=CountAction())) for rule in body]
    group = ManagedRuleGroupStatement(
        VendorName="AWS", Name=name, **({"RuleActionOverrides": overrides} if overrides else {})
    )
    statement = Statement(ManagedRuleGroupStatement=group)
    return _rule(priority, name, statement, OverrideAction=OverrideAction(**{"None": {}}))


def _bodies(priority: int) -> WebACLRule:
    labels = [f"awswaf:managed:aws:{label}" for body in _BODY_RULES.values() for label in body.values()]
    suspected = _any([Statement(LabelMatchStatement=LabelMatchStatement(Scope="LABEL", Key=one)) for one in labels])
    content = _any([_below(path) for path in application.CONTENT_PATHS])
    elsewhere = Statement(NotStatement=NotStatement(Statement=content))
    statement = Statement(AndStatement=AndStatement(Statements=[suspected, elsewhere]))
    return _rule(priority, "bodies-elsewhere", statement, Action=RuleAction(Block=BlockAction()))


def _below(path: str) -> Statement:
    return Statement(
        ByteMatchStatement=ByteMatchStatement(
            FieldToMatch=FieldToMatch(UriPath={}),
            PositionalConstraint="STARTS_WITH",
            SearchString=path,
            TextTransformations=[TextTransformation(Priority=0, Type="NORMALIZE_PATH")],
        )
    )


def _any(statements: Sequence[Statement]) -> Statement:
    return Statement(OrStatement=OrStatement(Statements=list(statements)))
