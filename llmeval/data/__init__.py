"""Data sets: from the hub, a local mirror or files; their fingerprints and differences.

`fingerprint` and `diff` are in the modules of the same names, which they would hide here; what
`llmeval data` does is in `llmeval.data.catalog`.
"""

from llmeval.data.fingerprint import DataFingerprint, row_digests
from llmeval.data.load import Splits, load_dataset, load_split
from llmeval.data.mirror import MissingSplit, mirror_dir

__all__ = [
    "DataFingerprint",
    "MissingSplit",
    "Splits",
    "load_dataset",
    "load_split",
    "mirror_dir",
    "row_digests",
]
