"""Pictures of a deployment, drawn from its templates: what is there, and who can talk to whom."""
