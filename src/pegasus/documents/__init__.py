"""Documents: add, list, read, erase."""
