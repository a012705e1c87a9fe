"""Events: Extend's webhooks come in, and whoever subscribed to a run, a batch or a workflow hears of its changes."""
