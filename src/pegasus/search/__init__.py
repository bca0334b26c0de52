"""Search by words, by meaning and by the graph, fused into one list."""
