"""Runs that were read once, kept, and kept fresh by the API, so that the next question over many runs costs little."""
