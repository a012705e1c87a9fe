"""Interpret workflow runs: pure functions over API objects, without I/O."""
