"""Local causal language models through Hugging Face transformers; needs the extra ``hf``."""
