"""Benchmarks: ``make bench`` runs them all and prints each goal beside what was measured in the same run."""

import sys
from pathlib import Path

# The servers of the tests, which some benchmarks use, import each other by their names alone.
sys.path.append(str(Path(__file__).parents[1] / "tests"))
