"""Taking an environment down: what can be made again when told once, the data too when told twice."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from typing import Any

from pegasus.errors import Conflict
from pegasus_aws import names
from pegasus_aws.clients.cloudformation import Proposal
from pegasus_aws.clients.objects import Objects
from pegasus_aws.environments import Environment
from pegasus_aws.release import decisions
from pegasus_aws.release.account import Account
from pegasus_aws.release.failure import NotDeployed
from pegasus_aws.release.lock import Lock
from pegasus_aws.release.stacks import Stacks, Wanted

# The network cannot go before what is in it.
_WITH_DATA: tuple[names.StackName, ...] = ("network", "data")


def destroy(
    environment: Environment,
    account: Account,
    *,
    with_data: bool,
    say: Callable[[str], None],
    agree: Callable[[Proposal], bool],
) -> None:
    """Raises ``Conflict`` where the environment is protected, ``NotDeployed`` with what could not be deleted."""
    if environment.protected:
        raise Conflict(
            f"{environment.name} is protected.",
            hint="Take it back first: protected = false in the environment's file, then pegasus aws apply",
        )
    account.objects.prepare()
    lock = Lock(account.objects, account.identity.arn)
    stacks = Stacks(environment, account.cloudformation, agree=agree, say=say, keep=lock.keep, may_lose_data=with_data)
    with lock.taken("destroy, with the data" if with_data else "destroy"):
        for stack in reversed(names.STACKS):
            if with_data or stack not in _WITH_DATA:
                _remove(environment, account, stacks, stack)
    if with_data:
        account.objects.remove_all()
        say("history: deleted")


def _remove(environment: Environment, account: Account, stacks: Stacks, stack: names.StackName) -> None:
    name = names.stack(environment, stack)
    there = account.cloudformation.describe(name)
    if there is None:
        return
    # What its creation or an earlier deletion left can only be deleted, as it is.
    if decisions.next_step(there.status) in ("update", "wait", "continue"):
        template = letting_go(json.loads(account.cloudformation.template(name)))
        if template is not None:
            body = json.dumps(template, separators=(",", ":"))
            stacks.bring(Wanted(stack, body, there.parameters, environment.protected))
    _empty_buckets(environment, account, name)
    try:
        stacks.remove(stack)
    except NotDeployed:
        # Somebody wrote into a bucket between its emptying and its end.
        if not _empty_buckets(environment, account, name):
            raise
        stacks.remove(stack)


def letting_go(template: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The same with nothing retained; None where nothing is.

    CloudFormation takes a change of what is retained only together with one of the resource: hence the metadata.
    docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-updating-stacks.html
    """
    made = copy.deepcopy(dict(template))
    kept = [one for one in made["Resources"].values() if one.get("DeletionPolicy", "Delete") != "Delete"]
    for resource in kept:
        resource["DeletionPolicy"] = "Delete"
        resource["Metadata"] = {**resource.get("Metadata", {}), "pegasus:retained": "no"}
        if resource["Type"] == "AWS::ECR::Repository":
            resource["Properties"]["EmptyOnDelete"] = True
    return made if kept else None


def _empty_buckets(environment: Environment, account: Account, stack: str) -> bool:
    """Whether anything was in them."""
    found = account.cloudformation.buckets(stack)
    emptied = [Objects(environment.region, bucket, account.identity.account).empty() for bucket in found]
    return any(emptied)
