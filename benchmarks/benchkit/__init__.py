"""The parts that the benchmarks share: servers and baselines, a client over stdio, documents, and the report."""
