"""Data sets: from the hub, a local mirror or files; their fingerprints and differences."""
