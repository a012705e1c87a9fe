"""What a workflow run's state means: pure functions over API objects, with no I/O."""
