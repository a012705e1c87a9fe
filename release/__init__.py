"""Render ``manifests/``, lay out the bundle, record the demo and measure the structure of the code."""
