"""Questions to an assistant that has our tools, and a grader of its answers: see docs/evals.md."""
