"""What a workflow definition means: its step types, and which definitions can be sent. Pure functions, no I/O."""
