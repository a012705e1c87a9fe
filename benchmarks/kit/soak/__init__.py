"""Hold the parts of the soak: watched processes, calls, clients, faults and the report."""
