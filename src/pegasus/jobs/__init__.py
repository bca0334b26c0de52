"""Jobs: rows that want work done, leases on them, and what runs them."""
