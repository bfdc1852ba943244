"""Pure functions on arrays: intervals, bootstrap, pass@k, pooling. Imports nothing of ours."""
