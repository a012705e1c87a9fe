"""Every write to Extend: one engine for a single action, the same steps over a plan of many runs."""
