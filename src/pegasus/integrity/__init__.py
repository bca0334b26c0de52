"""Whether the stores agree, and how they are brought to agree; what proves an erasure."""
