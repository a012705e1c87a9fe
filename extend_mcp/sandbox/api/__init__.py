"""Serve the sandbox account over HTTP, in the format of Extend's API."""
