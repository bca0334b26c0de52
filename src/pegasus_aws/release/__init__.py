"""Bringing about what a plan says, and seeing that it ends as it should, or saying why it did not."""
