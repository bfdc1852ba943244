"""What runs inside the box: standard library only, nothing of llmeval, loaded as ``guest``.

The folder is imported under two names. In the harness it is ``llmeval.sandbox.guest`` (the codec is
shared, and importing it there leaves the byte code that the box then loads). In the box it is
``guest``, found through one ``sys.path`` entry that is removed before any foreign code runs.
"""
