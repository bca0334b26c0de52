"""Usage: what a workspace holds and waits for, and what the whole process measures of itself."""
