"""State that the replicas of one server share through Redis. No other part knows Redis."""
