"""One module per technology. Only ``bootstrap`` and tests import these; none imports another."""
