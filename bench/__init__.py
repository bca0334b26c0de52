"""Benchmarks: ``make bench`` runs them all and prints each goal beside what was measured in the same run."""
