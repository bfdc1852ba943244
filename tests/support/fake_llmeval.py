"""``python -m tests.support.fake_llmeval DELAY ARGUMENTS...``: the command line, for killing.

Whatever model is named, a fake one answers; it writes its questions to ``asked.log``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from llmeval import preparation
from llmeval.cli import main
from tests.support.fakes import FakeModel

if __name__ == "__main__":
    delay = float(sys.argv[1])
    fake = FakeModel(delay=delay, log=Path("asked.log"))
    preparation.load_model = lambda name, settings=None: fake  # type: ignore[assignment]
    sys.exit(main(sys.argv[2:]))
