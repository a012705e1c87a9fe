"""What all replicas of the server share through Redis: events, ids seen, the rate budget, bulk plans."""
