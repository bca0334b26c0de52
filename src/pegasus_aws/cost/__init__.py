"""What an environment costs a month, computed from the templates that would be built."""

from pegasus_aws.cost import compute, edge, free, operations, stores
from pegasus_aws.cost.estimates import Estimate, estimate

__all__ = ["Estimate", "compute", "edge", "estimate", "free", "operations", "stores"]
