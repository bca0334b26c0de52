"""Questions, answers and their citations; sessions that keep them."""
