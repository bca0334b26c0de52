"""The stacks, cut by lifetime: what is changed daily is not in one template with what must never be lost."""
