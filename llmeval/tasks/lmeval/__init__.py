"""lm-eval's tasks under their own names: identical prompts, filters, metrics and aggregation.

``index`` names them without importing lm-eval; ``adapter`` is the only module that imports it.
"""
