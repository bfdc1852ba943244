"""``python -m llmeval.cli``."""

import sys

from llmeval.cli import main

sys.exit(main())
