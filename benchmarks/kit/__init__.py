"""Share servers, clients, the sandbox and reports between the benchmarks."""
