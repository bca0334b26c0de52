"""Whether the stores agree, how they are brought to agree or had back; what proves an erasure."""
