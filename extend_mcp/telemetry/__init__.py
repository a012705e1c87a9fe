"""Metrics, spans and logs, without secrets."""
