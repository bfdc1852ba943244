"""Local checkpoints answered by vLLM inside this process: prefix cache, continuous batching."""
