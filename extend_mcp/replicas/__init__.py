"""State that all replicas share through Redis: events, ids seen, the rate limit, bulk plans."""
