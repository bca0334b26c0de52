"""Draws what Pegasus consists of, as the imports of its code have it: nothing in the picture is typed by hand."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from pegasus_aws.diagram.svg import (
    AMBER,
    BLUE,
    INDIGO,
    INK,
    MARGIN,
    MUTED,
    PADDING,
    TEAL,
    TINTS,
    VIOLET,
    WIDTH,
    band,
    box,
    fitting,
    lines,
    number,
    path,
    picture,
    text,
)  # fmt: skip

_WAYS_IN = ("cli", "server", "api")
_ROOT = "bootstrap"
_LEFT, _ROOM = MARGIN + PADDING, WIDTH - 2 * (MARGIN + PADDING)
_FEATURE_GAP, _COLUMN_GAP, _SMALL = 14, 8, 11
Edge = tuple[str, str]


@dataclass(frozen=True)
class Adapter:
    module: str
    port: str
    store: str | None  # its name in the data directory


@dataclass(frozen=True)
class House:
    """What the code says of itself."""

    captions: Mapping[str, str]
    imports: frozenset[Edge]
    features: Sequence[str]
    adapters: Sequence[Adapter]


def read_house(source: Path) -> House:
    trees = {
        ".".join(file.relative_to(source).with_suffix("").parts).removesuffix(".__init__"): ast.parse(file.read_text())
        for file in sorted(source.rglob("*.py"))
    }
    captions = {name: _caption(name, ast.get_docstring(tree) or "") for name, tree in trees.items()}
    imports = frozenset(
        (part, target)
        for name, tree in trees.items()
        for target in _imported(tree)
        if (part := name.partition(".")[0]) != target
    )
    features = sorted({name.partition(".")[0] for name in trees if name.endswith(".service")})
    return House(captions, imports, _in_order(features, imports), list(_adapters(trees)))


def _caption(name: str, docstring: str) -> str:
    """The first clause of a docstring, without the name that stands above it already."""
    clause = re.sub(rf"(?i)^{name}: ", "", docstring.partition("\n")[0])
    return re.split(r"[;:]|, and |\. |\.$", clause[:1].upper() + clause[1:])[0]


def _imported(tree: ast.Module) -> Iterator[str]:
    """The parts of Pegasus that a module imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "pegasus":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pegasus."):
            yield str(node.module).split(".")[1]


def _in_order(features: Sequence[str], imports: frozenset[Edge]) -> list[str]:
    """Users left of what they use, and near it: swap two as long as that helps."""
    edges = [(a, b) for a, b in sorted(imports) if a in features and b in features]

    def cost(order: Sequence[str]) -> int:
        spans = [order.index(b) - order.index(a) for a, b in edges]
        return sum(span if span > 0 else 20 - span for span in spans)

    best, better = list(features), True
    while better:
        better = False
        for a, b in combinations(range(len(best)), 2):
            swapped = [*best]
            swapped[a], swapped[b] = best[b], best[a]
            if cost(swapped) < cost(best):
                best, better = swapped, True
    return best


def _adapters(trees: Mapping[str, ast.Module]) -> Iterator[Adapter]:
    """What the composition root takes from ``adapters``, with the port whose members it has."""
    ports = [node for tree in trees.values() for node in ast.walk(tree) if _is_protocol(node)]
    members = {port.name: _members(port) for port in ports if isinstance(port, ast.ClassDef)}
    stores = _stores(trees[_ROOT])
    for function in (node for node in trees[_ROOT].body if isinstance(node, ast.FunctionDef)):
        for node in ast.walk(function):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pegasus.adapters."):
                module, name = str(node.module).removeprefix("pegasus."), node.names[0].name
                (made,) = [n for n in trees[module].body if isinstance(n, ast.ClassDef) and n.name == name]
                fitting = [port for port, wanted in members.items() if wanted and wanted <= _members(made)]
                # A port that is a plain call has no members of its own: the function that makes it says what it is.
                port = max(fitting, key=lambda p: len(members[p]), default=ast.unparse(function.returns or made))
                yield Adapter(module.removeprefix("adapters."), port, stores.get(name))


def _is_protocol(node: ast.AST) -> bool:
    return isinstance(node, ast.ClassDef) and any(ast.unparse(base) == "Protocol" for base in node.bases)


def _members(made: ast.ClassDef) -> set[str]:
    functions = {node.name for node in made.body if isinstance(node, ast.FunctionDef)}
    assigned = [node.targets[0] for node in made.body if isinstance(node, ast.Assign)]
    return {name for name in functions if not name.startswith("__")} | {ast.unparse(target) for target in assigned}


def _stores(root: ast.Module) -> dict[str, str]:
    """Class -> the name that it is given below the data directory."""
    calls = (node for node in ast.walk(root) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name))
    return {
        ast.unparse(call.func): str(argument.right.value)
        for call in calls
        for argument in call.args
        if isinstance(argument, ast.BinOp) and isinstance(argument.right, ast.Constant)
    }


def draw(source: Path) -> str:
    house = read_house(source)
    shapes = [
        text(_LEFT, 46, "The house", 22, INK, 700, "start"),
        text(WIDTH - _LEFT, 45, "drawn from the imports of src/pegasus", 12, MUTED, 400, "end"),
    ]
    ways, y = _ways_in(house, 68)
    features, below = _features(house, y + 30)
    ports, bottom = _columns(house, below + 30)
    joints = [path(f"M{WIDTH / 2:g},{number(end - 26)} V{number(end - 2)}", MUTED, 2) for end in (y + 30, below + 30)]
    description = (
        f"Ways in: {', '.join(_WAYS_IN)}. Features: {', '.join(house.features)}. "
        + " ".join(f"{adapter.module} implements {adapter.port}." for adapter in house.adapters)
    )  # fmt: skip
    return picture(
        bottom + MARGIN, "What Pegasus consists of", description, [*shapes, *ways, *features, *ports, *joints]
    )


def _ways_in(house: House, y: float) -> tuple[list[str], float]:
    names = [*_WAYS_IN, _ROOT]
    width = (_ROOM - 3 * 36) / 4
    texts = {name: textwrap.wrap(house.captions[name], 30) for name in names}
    height = 44 + 14 * max(map(len, texts.values()))
    shapes = band(y, height + 54, "Ways in", "and the composition root, which puts the rest together", INDIGO)
    middle = y + 38 + height / 2
    for index, name in enumerate(names):
        x, colour = _LEFT + index * (width + 36), MUTED if name == _ROOT else INDIGO
        shapes += _card(x, y + 38, width, height, name, texts[name], colour, "5 4" if name == _ROOT else "")
        if index and (names[index - 1], name) in house.imports:
            shapes.append(path(f"M{number(x - 34)},{number(middle)} H{number(x - 2)}", INDIGO))
        elif index and (name, names[index - 1]) in house.imports:
            shapes.append(path(f"M{number(x - 2)},{number(middle)} H{number(x - 34)}", INDIGO))
    return shapes, y + height + 54


def _card(x: float, y: float, width: float, height: float, name: str, caption: Sequence[str], colour: str,
          dash: str = "") -> list[str]:  # fmt: skip
    middle = x + width / 2
    return [
        box(x, y, width, height, TINTS[colour], colour, dash=dash),
        text(middle, y + 22, name, 13.5, INK, 650),
        *lines(middle, y + 40, caption, _SMALL, MUTED),
    ]


def _features(house: House, y: float) -> tuple[list[str], float]:
    names, gap = house.features, _FEATURE_GAP
    width = (_ROOM - (len(names) - 1) * gap) / len(names)
    captions = {name: textwrap.wrap(house.captions[name], int(width / 6.4)) for name in names}
    height = 40 + 14 * max(map(len, captions.values()))
    edges = sorted((names.index(a), names.index(b)) for a, b in house.imports if a in names and b in names)
    above, below = [e for e in edges if e[0] < e[1]], [e for e in edges if e[0] > e[1]]
    top = y + 44 + 13 * max((b - a for a, b in above), default=0)
    bottom = top + height
    shapes = band(
        y, bottom - y + (32 if below else 18), "Features", "an arrow goes from the one that imports the other", TEAL
    )
    for index, name in enumerate(names):
        shapes += _card(_LEFT + index * (width + gap), top, width, height, name, captions[name], TEAL)
    shapes += _arcs(above, top, width, -1) + _arcs(below, bottom, width, 1)
    return shapes, bottom + (32 if below else 18)


def _arcs(edges: Sequence[tuple[int, int]], y: float, width: float, side: int) -> list[str]:
    """Arrows along one side of the row, nested: at a box the ends are sorted so that no two cross there."""
    shapes = []
    for a, b in edges:
        x = {}
        for at in (a, b):
            ends = sorted((edge for edge in edges if at in edge), key=lambda edge: _rank(edge, at))
            x[at] = _LEFT + at * (width + _FEATURE_GAP) + width * (ends.index((a, b)) + 1) / (len(ends) + 1)
        height = side * (18 + 17 * abs(b - a))
        start, end = y + side, y + side * 2
        curve = f"C{number(x[a])},{number(y + height)} {number(x[b])},{number(y + height)} {number(x[b])},{number(end)}"
        shapes.append(path(f"M{number(x[a])},{number(start)} {curve}", TEAL))
    return shapes


def _rank(edge: tuple[int, int], at: int) -> tuple[bool, int]:
    """From left to right: ends of arcs that come from the left, near ones first; then those to the right, far first."""
    other = edge[0] if edge[1] == at else edge[1]
    return other > at, -other


def _columns(house: House, y: float) -> tuple[list[str], float]:
    """Ports, under each the adapters that implement it, under these what they keep in the data directory."""
    by_port: dict[str, list[Adapter]] = {}
    for adapter in sorted(house.adapters, key=lambda adapter: bool(adapter.store)):
        by_port.setdefault(adapter.port, []).append(adapter)
    width = (_ROOM - (len(by_port) - 1) * _COLUMN_GAP) / len(by_port)
    deepest = max(map(len, by_port.values()))
    adapters_y = y + 38 + 46 + 34
    stores_y = adapters_y + 34 * deepest - 4 + 18 + 30
    shapes = band(y, stores_y - 30 - y, "Ports", "what the features need of the world; below each, the", AMBER)
    shapes[-1] = shapes[-1].replace("</text>", f'<tspan dx="5" font-weight="650" fill="{BLUE}">adapters</tspan></text>')
    shapes += band(stores_y, 92, "Data directory", "what the adapters keep, on this machine", VIOLET)
    for index, (port, adapters) in enumerate(by_port.items()):
        x = _LEFT + index * (width + _COLUMN_GAP)
        shapes += _port(x, y + 38, width, port) + _stack(x, adapters_y, width, [a.module for a in adapters])
        shapes.append(path(f"M{number(x + width / 2)},{number(adapters_y - 1)} v-31", BLUE))
        if store := next((adapter.store for adapter in adapters if adapter.store), None):
            bottom = adapters_y + 34 * len(adapters) - 3
            shapes.append(path(f"M{number(x + width / 2)},{number(bottom)} V{number(stores_y + 16)}", VIOLET))
            shapes += _drum(x, stores_y + 18, width, 56, store)
    return shapes, stores_y + 92


def _port(x: float, y: float, width: float, name: str) -> list[str]:
    words = re.findall(r"[A-Z][a-z]+", name)
    return [
        box(x, y, width, 46, TINTS[AMBER], AMBER),
        *lines(x + width / 2, y + 28 - 8 * (len(words) - 1), words, 12.5, INK, 600),
    ]


def _stack(x: float, y: float, width: float, names: Sequence[str]) -> list[str]:
    shapes = [box(x, y, width, 34 * len(names) - 4, TINTS[BLUE], BLUE)]
    for row, name in enumerate(names):
        if row:
            shapes.append(path(f"M{number(x)},{number(y + 34 * row - 2)} h{number(width)}", BLUE, 1, arrow=False))
        shapes.append(text(x + width / 2, y + 34 * row + 19, name, fitting(name, width, 11.5), INK, 500))
    return shapes


def _drum(x: float, y: float, width: float, height: float, name: str) -> list[str]:
    half, side = number(width / 2), number(height - 12)
    lid = f"M{number(x)},{number(y + 6)} a{half},6 0 0 1 {number(width)},0"
    body = f"v{side} a{half},6 0 0 1 -{number(width)},0 v-{side} a{half},6 0 0 0 {number(width)},0"
    return [
        f'<path d="{lid} {body}" fill="{TINTS[VIOLET]}" stroke="{VIOLET}"/>',
        text(x + width / 2, y + height / 2 + 10, name, fitting(name, width, 11.5), INK, 500),
    ]
