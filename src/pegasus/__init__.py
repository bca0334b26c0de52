"""Pegasus: documents in, answers out, every citation checked."""

__version__ = "0.1.0"
