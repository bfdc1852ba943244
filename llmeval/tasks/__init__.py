"""What is asked and how it is scored: native YAML tasks, suites and the lm-eval adapter."""
