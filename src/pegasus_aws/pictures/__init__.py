"""Pictures of what would run: drawn from the templates and from what they cost, never by hand."""
