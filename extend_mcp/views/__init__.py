"""API object -> the short view that a model reads: pure functions, each answer within a budget."""
