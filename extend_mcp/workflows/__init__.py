"""Model workflow definitions: their step types, and which definitions can be sent. Pure functions, no I/O."""
