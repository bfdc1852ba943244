"""lm-eval's results and samples, read as a record. Written against lm-eval 0.4.13."""
