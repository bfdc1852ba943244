"""Harnesses side by side on one mock server: ``python -m bench.serving --help``."""
