"""Ways in and out: balancer, firewall, addresses, gateways, and what passes through them."""

from __future__ import annotations

from collections.abc import Iterator

from pegasus_aws.cost.charges import HOURS, Charge, Resource, priced

VPC, BALANCER, TRANSFER = "VPC", "Load balancer", "Data transfer"
_SECONDS = HOURS * 3600
# What one capacity unit does: whichever is used most is paid. aws.amazon.com/elasticloadbalancing/pricing
_CONNECTIONS_A_SECOND, _GB_AN_HOUR = 25, 1


@priced("AWS::EC2::NatGateway")
def nat(resource: Resource) -> Iterator[Charge]:
    gateways = len(resource.system.of(resource.type))
    yield Charge(VPC, "NAT gateways", HOURS, "nat.hour")
    yield Charge(VPC, "through NAT gateways", resource.usage.nat_gb / gateways, "nat.gb")


@priced("AWS::EC2::EIP")
def address(_: Resource) -> Iterator[Charge]:
    yield Charge(VPC, "public addresses", HOURS, "ipv4")


@priced("AWS::EC2::VPCEndpoint")
def endpoint(resource: Resource) -> Iterator[Charge]:
    """S3's is a gateway, which is free."""
    if resource.properties["VpcEndpointType"] == "Interface":
        zones = resource.system.length(resource.properties["SubnetIds"])
        yield Charge(VPC, "interface endpoints", zones * HOURS, "endpoint.hour")


@priced("AWS::EC2::VPC")
def network(resource: Resource) -> Iterator[Charge]:
    yield Charge(TRANSFER, "between zones, there and back", 2 * resource.usage.between_zones_gb, "transfer.zones")


@priced("AWS::ElasticLoadBalancingV2::LoadBalancer")
def balancer(resource: Resource) -> Iterator[Charge]:
    usage = resource.usage
    an_hour = (usage.received_gb + usage.sent_gb) / HOURS
    units = max(usage.requests_per_second / _CONNECTIONS_A_SECOND, an_hour / _GB_AN_HOUR)
    yield Charge(BALANCER, "balancer", HOURS, "alb.hour")
    yield Charge(BALANCER, "capacity units", units * HOURS, "alb.lcu")
    zones = resource.system.length(resource.properties["Subnets"])
    yield Charge(VPC, "public addresses of the balancer", zones * HOURS, "ipv4")
    yield Charge(TRANSFER, "to the internet", usage.sent_gb, "transfer.out")


@priced("AWS::WAFv2::WebACL")
def firewall(resource: Resource) -> Iterator[Charge]:
    yield Charge("WAF", "firewall", 1, "waf.acl")
    yield Charge("WAF", "rules", len(resource.properties["Rules"]), "waf.rule")
    yield Charge("WAF", "requests", resource.usage.requests_per_second * _SECONDS / 1_000_000, "waf.requests")


@priced("AWS::ServiceDiscovery::PrivateDnsNamespace")
def names(_: Resource) -> Iterator[Charge]:
    yield Charge("Route 53", "zone of the names within", 1, "dns.zone")
