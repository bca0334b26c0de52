"""Our own rules, by subject: what cfn-lint cannot know and checkov does not ask."""

from pegasus_aws.plan.policy import access, encryption, exposure, logs, secrets, stores, tasks, templates
from pegasus_aws.plan.policy.system import Rule, System, check_policy, exceptions, rules

__all__ = [
    "Rule", "System", "access", "check_policy", "encryption", "exceptions", "exposure", "logs", "rules", "secrets",
    "stores", "tasks", "templates",
]  # fmt: skip
