"""Runs the benchmarks that are named, or all, and fails when a goal is missed."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table

from bench import findable, ingest, scale, search, startup
from bench.harness import Figure

_ALL = {"startup": startup, "search": search, "ingest": ingest, "findable": findable, "scale": scale}


def main() -> int:
    names = [name for argument in sys.argv[1:] for name in argument.split(",")] or list(_ALL)
    if unknown := set(names) - set(_ALL):
        print(f"There is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(_ALL)}.", file=sys.stderr)
        return 2
    figures: list[Figure] = []
    for name in names:
        print(f"Measuring {name} ...", file=sys.stderr)
        figures += _ALL[name].figures()
    _show(figures)
    return 1 if any(figure.reached is False for figure in figures) else 0


def _show(figures: list[Figure]) -> None:
    table = Table("what", "measured", "goal", "", "beside it", box=None)
    for figure in figures:
        mark = {True: "reached", False: "MISSED", None: ""}[figure.reached]
        table.add_row(figure.what, figure.value, figure.goal, mark, figure.beside)
    Console(width=None if sys.stdout.isatty() else 220).print(table)


if __name__ == "__main__":
    sys.exit(main())
