"""Whether the stores agree and can be had back: backup and restore."""
