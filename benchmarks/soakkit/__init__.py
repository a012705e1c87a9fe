"""The parts of the soak: watched processes, calls, clients, the faults that strike them, and the report."""
