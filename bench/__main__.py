"""Runs the benchmarks that are named, or all, and fails when a goal is missed."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from bench import (
    findable,
    ingest,
    integrity,
    jobs,
    requests,
    restore,
    scale,
    search,
    search_server,
    soak,
    startup,
    workers,
)
from bench.harness import ROOT, Figure, Report

_ALL = {
    "startup": startup,
    "search": search,
    "ingest": ingest,
    "findable": findable,
    "scale": scale,
    "integrity": integrity,
    "restore": restore,
}
_ON_SERVERS = {
    "requests": requests,
    "jobs": jobs,
    "workers": workers,
    "search-server": search_server,
    "soak": soak,
}
_RESULTS = ROOT / "bench" / "results.json"


def main() -> int:
    """``--server`` is for the server tier; ``--save`` also writes the figures to bench/results.json, which the
    documentation shows."""
    arguments = [name for argument in sys.argv[1:] for name in argument.split(",")]
    save, every = "--save" in arguments, _ON_SERVERS if "--server" in arguments else _ALL
    names = [name for name in arguments if not name.startswith("--")] or list(every)
    if unknown := set(names) - set(every):
        print(f"There is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(every)}.", file=sys.stderr)
        return 2
    reports: dict[str, Report] = {}
    for name in names:
        print(f"Measuring {name} ...", file=sys.stderr)
        reports[name] = every[name].measure()
        _show(name, reports[name].figures)
    if save:
        _save(reports)
    return 1 if any(figure.reached is False for report in reports.values() for figure in report.figures) else 0


def _show(name: str, figures: list[Figure]) -> None:
    table = Table(name, "measured", "goal", "", "beside it", box=None)
    for figure in figures:
        mark = {True: "reached", False: "MISSED", None: ""}[figure.reached]
        table.add_row(figure.what, figure.value, figure.goal, mark, figure.beside)
    Console(width=None if sys.stdout.isatty() else 220).print(table)


def _save(reports: dict[str, Report]) -> None:
    """Replace what was measured now; other benchmarks keep their figures of before."""
    kept = json.loads(_RESULTS.read_text()) if _RESULTS.is_file() else {"figures": [], "plots": {}}
    others = [figure for figure in kept["figures"] if figure["bench"] not in reports]
    new = [{"bench": name, **asdict(figure)} for name, report in reports.items() for figure in report.figures]
    plots = kept["plots"] | {key: value for report in reports.values() for key, value in report.plots.items()}
    machine = f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores"
    saved = {"date": time.strftime("%Y-%m-%d"), "machine": machine, "figures": others + new, "plots": plots}
    _RESULTS.write_text(json.dumps(saved, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
