"""Draws what a deployment is made of: the network with its tiers, who is in them, and what stands beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pegasus_aws.diagram.cards import COLOURS, Spot, arrow, card, height_of
from pegasus_aws.diagram.layout import CROWD, FRONT, Plan, Row, plan
from pegasus_aws.diagram.letters import width_of, wrapped
from pegasus_aws.diagram.neighbours import asked_outside, neighbours, network_facts
from pegasus_aws.diagram.parts import Kind, Part, parts
from pegasus_aws.diagram.reading import INTERNET, Arrow, Templates
from pegasus_aws.diagram.svg import (
    BAND,
    BLUE,
    CARD,
    FAINT,
    INK,
    LINE,
    MARGIN,
    MUTED,
    TEAL,
    TINTS,
    box,
    number,
    path,
    picture,
    text,
)
from pegasus_aws.plan.policy.system import System

_WIDTH = 1060
_MEANINGS: Mapping[Kind, str] = {"door": "way in", "task": "task on Fargate", "function": "function", "store": "store"}
_NETWORK_LEFT, _NETWORK_RIGHT = MARGIN, _WIDTH - MARGIN
_TIER_LEFT, _TIER_RIGHT = _NETWORK_LEFT + 14, _NETWORK_RIGHT - 14
_ASIDE = 112  # What a tier is stands at its left, where no arrow passes.
_LEFT, _RIGHT = _TIER_LEFT + _ASIDE, _TIER_RIGHT - 14
_OUTSIDE, _NETWORK_TOP = 82.0, 148.0  # Tops of what is outside, and of the network.
_GAP, _PADDING, _BETWEEN = 12, 14, 34  # Between cards, within a tier, and between two of them: room for a port.
_SHARED_LINE, _BELOW_SHARED = 22, 58  # From a row of tasks down to its line, and to the next row.
_FRONT_WIDTH, _WORLD_WIDTH, _PORT_WIDTH = 230, 400, 34
_BESIDE_COLUMNS = 4


def draw(system: System) -> str:
    templates = Templates(system)
    arrows, cards = templates.arrows(), {part.party: part for part in parts(templates)}
    laid = plan(list(cards.values()), arrows, [tier.name for tier in templates.tiers()])
    spots, frames, bottom = _places(laid, cards)
    title = f"Pegasus on AWS: {system.environment.name}"
    shapes = [
        text(MARGIN + 4, 46, title, 22, INK, 700, "start"),
        text(_WIDTH - MARGIN - 4, 45, f"{system.environment.region}; drawn from the templates", 12, MUTED, 400, "end"),
        *_legend(64),
        *_network(templates, bottom),
        *(shape for tier, (y, end) in frames.items() for shape in _tier(templates, tier, y, end)),
        *_arrows(laid, spots, [one for one in arrows if INTERNET not in (one.source, one.target)]),
        *_ways_in(templates, spots, [one for one in arrows if one.source == INTERNET]),
        *_ways_out(templates, cards, frames, [one for one in arrows if one.target == INTERNET]),
    ]
    for party, spot in spots.items():
        shapes += card(spot, cards[party].title, cards[party].facts, COLOURS[cards[party].kind], cards[party].resources)
    beside, end = _beside(templates, bottom + 22)
    told = " ".join(f"{one.source} may open {one.target} on {one.port}." for one in arrows)
    return picture(end + MARGIN, title, told, [*shapes, *beside], _WIDTH)


def _places(
    laid: Plan, cards: Mapping[str, Part]
) -> tuple[Mapping[str, Spot], Mapping[str, tuple[float, float]], float]:
    """Each card, the top and the bottom of each tier, and where the network ends."""
    spots: dict[str, Spot] = {}
    frames: dict[str, tuple[float, float]] = {}
    y = start = _NETWORK_TOP + 42
    for index, row in enumerate(laid.rows):
        if row.tier not in frames:
            start, y = y, y + _PADDING
        widths = {party: _width(laid, row, party) for party in row.parts}
        height = max(height_of(cards[party].facts, widths[party]) for party in row.parts)
        for at, party in enumerate(row.parts):
            spots[party] = Spot(_x(laid, row, party, at), y, widths[party], height)
        y += height
        crowd = row.role == CROWD
        frames[row.tier] = (start, y + (_SHARED_LINE if crowd else 0) + _PADDING)
        ends = index + 1 == len(laid.rows) or laid.rows[index + 1].tier != row.tier
        y = frames[row.tier][1] + _BETWEEN if ends else y + (_BELOW_SHARED if crowd else _BETWEEN)
    return spots, frames, y - _BETWEEN + _PADDING


def _width(laid: Plan, row: Row, party: str) -> float:
    if row.role == CROWD:
        return (_RIGHT - _LEFT - _GAP * (len(laid.crowd) - 1)) / len(laid.crowd)
    if row.role == FRONT:
        return _FRONT_WIDTH
    first, last = laid.columns[party]
    return (last - first + 1) * _column(laid) - _GAP - (_PORT_WIDTH if party in laid.beside else 0)


def _column(laid: Plan) -> float:
    return (_RIGHT - _LEFT + _GAP) / laid.width


def _x(laid: Plan, row: Row, party: str, index: int) -> float:
    if row.role in (CROWD, FRONT):
        return _LEFT + index * (_width(laid, row, party) + _GAP)
    return _LEFT + laid.columns[party][0] * _column(laid)


def _network(templates: Templates, bottom: float) -> Iterator[str]:
    ((_, _, vpc),) = templates.system.of("AWS::EC2::VPC")
    y = _NETWORK_TOP + 26
    yield box(_NETWORK_LEFT, _NETWORK_TOP, _NETWORK_RIGHT - _NETWORK_LEFT, bottom - _NETWORK_TOP, BAND, FAINT, 12)
    yield text(_TIER_LEFT, y, f"Network {vpc['CidrBlock']}", 12.5, INK, 600, "start")
    yield text(_LEFT + _FRONT_WIDTH + 16, y, "; ".join(network_facts(templates)), 10.5, MUTED, 400, "start")


def _tier(templates: Templates, name: str, y: float, bottom: float) -> Iterator[str]:
    (tier,) = [one for one in templates.tiers() if one.name == name]
    yield box(_TIER_LEFT, y, _TIER_RIGHT - _TIER_LEFT, bottom - y, CARD, LINE, 10, "5 4")
    yield text(_TIER_LEFT + 10, y + 24, f"{name} subnets", 11, INK, 600, "start")
    for index, line in enumerate([*tier.blocks, *wrapped(tier.way_out, _ASIDE - 18, 10)]):
        yield text(_TIER_LEFT + 10, y + 41 + index * 13.5, line, 10, MUTED, 400, "start")


def _arrows(laid: Plan, spots: Mapping[str, Spot], inside: Sequence[Arrow]) -> Iterator[str]:
    """The line that many share with its arrows, and the arrows of the others."""
    if laid.crowd:
        y = spots[laid.crowd[0]].bottom + _SHARED_LINE
        landings = {target: _landing(laid, spots, target, inside) for target in laid.shared}
        reach = [*(spots[party].middle for party in laid.crowd), *landings.values()]
        for party in laid.crowd:
            yield path(f"M{number(spots[party].middle)},{number(spots[party].bottom)} V{number(y)}", BLUE, arrow=False)
        yield path(f"M{number(min(reach))},{number(y)} H{number(max(reach))}", BLUE, 2.6, arrow=False)
        for target, x in landings.items():
            together = [one for one in inside if one.source in laid.crowd and one.target == target]
            yield from _down(together, x, y, spots[target])
    for source, target in dict.fromkeys((one.source, one.target) for one in inside if one.source not in laid.crowd):
        yield from _own([one for one in inside if (one.source, one.target) == (source, target)], spots)


def _landing(laid: Plan, spots: Mapping[str, Spot], target: str, inside: Sequence[Arrow]) -> float:
    """Where the arrow of many meets its target: in the middle, or in the gap between those that stand above it."""
    first, last = laid.columns[target]
    above = [one.source for one in inside if one.target == target and one.source not in laid.crowd]
    if not above or last == first:
        return spots[target].middle
    return _LEFT + (first + (last - first + 1) // 2) * _column(laid) - _GAP / 2


def _own(arrows: Sequence[Arrow], spots: Mapping[str, Spot]) -> Iterator[str]:
    source, target = spots[arrows[0].source], spots[arrows[0].target]
    if source.y == target.y:  # Side by side: the target is on the left.
        y, end = source.y + source.height / 2, target.right + 1
        yield from arrow(arrows, f"M{number(source.x)},{number(y)} H{number(end)}", (source.x + end) / 2, y - 12)
    else:
        x = min(max(source.middle, target.x + 12), target.right - 12)
        yield from _down(arrows, x, source.bottom, target)


def _down(arrows: Sequence[Arrow], x: float, y: float, target: Spot) -> Iterator[str]:
    yield from arrow(arrows, f"M{number(x)},{number(y)} V{number(target.y - 1)}", x, target.y - 18)


def _ways_in(templates: Templates, spots: Mapping[str, Spot], coming: Sequence[Arrow]) -> Iterator[str]:
    for party in dict.fromkeys(one.target for one in coming):
        spot = Spot(spots[party].x, _OUTSIDE, spots[party].width, 46)
        yield from card(spot, "Whoever asks", [templates.environment.domain], MUTED)
        yield from _down([one for one in coming if one.target == party], spot.middle, spot.bottom, spots[party])


def _ways_out(
    templates: Templates, cards: Mapping[str, Part], frames: Mapping[str, tuple[float, float]], going: Sequence[Arrow]
) -> Iterator[str]:
    """To the internet by way of the NAT gateways, or straight where there are none."""
    world = Spot(_RIGHT - _WORLD_WIDTH, _OUTSIDE, _WORLD_WIDTH, 46)
    yield from card(world, "The internet", [", ".join(asked_outside(templates))], MUTED)
    sources = {one.source for one in going}
    who = ", ".join(part.title for party, part in cards.items() if party in sources)
    gates = templates.of("AWS::EC2::NatGateway")
    title, facts = "Straight out", (f"{who}: with public addresses of their own",)
    if gates:
        title = f"NAT gateway in each of {len(gates)} zones" if len(gates) > 1 else "NAT gateway"
        facts = (f"the way out of {who}",)
    top = min(y for y, _ in frames.values())
    way = Spot(world.x, top + _PADDING, world.width, height_of(facts, world.width))
    if gates:
        behind = max(frames[cards[party].tier][0] for party in sources)
        yield path(f"M{number(way.middle)},{number(behind)} V{number(way.bottom + 1)}", BLUE)
    yield from card(way, title, facts, TEAL, gates)
    yield from arrow(going, f"M{number(way.middle)},{number(way.y)} V{number(world.bottom + 1)}", way.middle, top - 14)


def _beside(templates: Templates, y: float) -> tuple[Sequence[str], float]:
    found = neighbours(templates)
    width = (_TIER_RIGHT - _TIER_LEFT - _GAP * (_BESIDE_COLUMNS - 1)) / _BESIDE_COLUMNS
    shapes, at = [text(_TIER_LEFT, y + 26, "Beside the network", 12.5, INK, 600, "start")], y + 40
    for start in range(0, len(found), _BESIDE_COLUMNS):
        row = found[start : start + _BESIDE_COLUMNS]
        height = max(height_of(one.facts, width) for one in row)
        for index, one in enumerate(row):
            spot = Spot(_TIER_LEFT + index * (width + _GAP), at, width, height)
            shapes += card(spot, one.title, one.facts, MUTED, one.resources)
        at += height + _GAP
    frame = box(_NETWORK_LEFT, y, _NETWORK_RIGHT - _NETWORK_LEFT, at + 4 - y, BAND, FAINT, 12)
    return [frame, *shapes], at + 4


def _legend(y: float) -> Iterator[str]:
    x = MARGIN + 4.0
    for kind, colour in COLOURS.items():
        yield box(x, y - 9, 14, 11, TINTS[colour], colour, 3)
        yield text(x + 20, y, _MEANINGS[kind], 10.5, MUTED, 400, "start")
        x += 34 + width_of(_MEANINGS[kind], 10.5)
    yield path(f"M{number(x)},{number(y - 3.5)} h26", BLUE)
    words = "may open a connection, on that port; who meets a thick line may open all that hangs from it"
    yield text(x + 34, y, words, 10.5, MUTED, 400, "start")
