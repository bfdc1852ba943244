"""A mock server of the OpenAI-compatible HTTP API that injects faults reproducibly.

Tests start it with ``launch.serve``; by hand: ``python -m tests.support.mock_openai --help``.
"""
