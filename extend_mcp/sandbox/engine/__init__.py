"""Simulate an Extend account: its objects, the clock, and the engine that advances runs."""
