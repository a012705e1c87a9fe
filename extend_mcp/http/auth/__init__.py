"""Identify the caller of an HTTP request: by their Extend key, a token of a file, or an OAuth access token."""
