"""What is in an account before the first stack: the owner's zone, and what AWS publishes for everybody."""

from __future__ import annotations

from ministack.core.responses import get_account_id, request_scope
from ministack.services import route53, ssm

# Any will do: no instance is started.
_MACHINE_IMAGES = ("/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64",)


def furnish(region: str, domain: str, zone: str) -> None:
    with request_scope(get_account_id(), region):
        # A zone of the domain's own name; which of its parents it would be on AWS makes no difference in here.
        name = route53._normalise_name(domain)
        route53._zones[zone] = {
            "id": zone, "name": name, "caller_reference": "owner", "comment": "", "private": False, "vpcs": [],
        }  # fmt: skip
        route53._records[zone] = route53._default_records(name)
        for parameter in _MACHINE_IMAGES:
            # Not by PutParameter: names of AWS's are refused there.
            ssm._parameters[parameter] = {
                "Name": parameter, "Value": "ami-00000000000000000", "OriginalValue": "ami-00000000000000000",
                "Type": "String", "Version": 1, "ARN": ssm._param_arn(parameter), "LastModifiedDate": 0,
                "DataType": "aws:ec2:image", "KeyId": "", "Description": "", "Tier": "Standard", "AllowedPattern": "",
            }  # fmt: skip
