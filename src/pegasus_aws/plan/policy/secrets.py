"""Secrets are generated, referred to, and changed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from pegasus_aws.plan.policy.system import Found, System, containers, listed, rule, texts

_SECRET_NAMES = re.compile(r"password|passwd|secret|token|api_?key|private_?key|credential", re.IGNORECASE)
_KNOWN_FORMS = re.compile(
    r"AKIA[0-9A-Z]{16}|-----BEGIN [A-Z ]*PRIVATE KEY|://[^/\s:@${}]+:[^@\s${}/]{3,}@|gh[pousr]_[A-Za-z0-9]{36}|"
    r"AIza[0-9A-Za-z_-]{35}|xox[baprs]-[0-9A-Za-z-]{10,}"
)


@rule("literal-secret", "Let Secrets Manager generate it, and refer to it: {{resolve:secretsmanager:...}}, valueFrom.")
def _literal_secret(system: System) -> Iterator[Found]:
    for stack, name, resource in system.resources():
        properties = resource.get("Properties", {})
        for path, text in texts(properties):
            if _KNOWN_FORMS.search(text):
                yield stack, name, f"{path} looks like a secret."
    for stack, name, properties in system.of(
        "AWS::RDS::DBInstance", "AWS::ElastiCache::User", "AWS::ElastiCache::ReplicationGroup"
    ):
        for field in ("MasterUserPassword", "AuthToken", "Passwords"):
            for value in listed(properties.get(field)):
                if "{{resolve:secretsmanager:" not in json.dumps(value):
                    yield stack, name, f"{field} stands in the template."
    for stack, name, properties in system.of("AWS::SecretsManager::Secret"):
        given = properties.get("SecretString")
        if given is not None and "{{resolve:secretsmanager:" not in json.dumps(given):
            yield stack, name, "SecretString stands in the template."
    for stack, template in system.templates.items():
        for name, parameter in template.get("Parameters", {}).items():
            if _SECRET_NAMES.search(name) and "Default" in parameter:
                yield stack, "template", f"The parameter {name} has a default."


@rule("secret-in-environment", "Move it to Secrets: variables are shown to whoever may describe a task.")
def _secret_in_environment(system: System) -> Iterator[Found]:
    for stack, name, container in containers(system):
        for variable in container.get("Environment", []):
            if _SECRET_NAMES.search(variable["Name"]) or "resolve:secretsmanager" in json.dumps(variable["Value"]):
                yield stack, name, f"{variable['Name']} is a plain variable."


@rule("secret-form", "Write it as ARN:key::, which is the only form that ECS takes.")
def _secret_form(system: System) -> Iterator[Found]:
    for stack, name, container in containers(system):
        for secret in container.get("Secrets", []):
            text = json.dumps(secret["ValueFrom"])
            if not re.search(r':[A-Za-z_]+::"', text):
                yield stack, name, f"{secret['Name']} names no key of its secret: {text}."


@rule("rotation", "Give the database's secret a RotationSchedule with two users, so that no task is locked out.")
def _rotation(system: System) -> Iterator[Found]:
    rotated = {
        json.dumps(one["SecretId"]): json.dumps(one) for _, _, one in system.of("AWS::SecretsManager::RotationSchedule")
    }
    for stack, name, properties in system.of("AWS::SecretsManager::Secret"):
        if str(properties.get("Name")).endswith("/postgres") and "MultiUser" not in rotated.get(
            json.dumps({"Fn::GetAtt": [name, "Id"]}), ""
        ):
            yield stack, name, "Its password never changes, or changes under the feet of running tasks."
