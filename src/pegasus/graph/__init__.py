"""The graph of entities and documents, as callers see it."""
