"""lm-eval 0.4.13 and llmeval side by side: ``python -m bench.scoring --help``."""
