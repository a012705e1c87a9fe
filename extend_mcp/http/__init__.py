"""Serving over HTTP: one application with MCP, health, metrics and the webhook receiver, and who may use it."""
