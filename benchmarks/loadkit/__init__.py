"""The parts of the load benchmark: processes, requests, connections, rounds and the report."""
