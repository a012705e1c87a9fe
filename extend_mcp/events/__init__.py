"""Events: Extend's webhooks come in, and subscribers of a run, a batch or a workflow are notified of its changes."""
