"""Deciding what would be built, and whether it may be, without building anything."""
