"""The embedded model and data: an instrument whose answers are known by construction.

Light: importing this loads neither torch nor the generators.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_ROOM = Path(__file__).resolve().parent
MODEL_DIR = _ROOM / "model"
DATA_DIR = _ROOM / "data"
KNOWN_FILE = _ROOM / "known.json"


def load_known() -> dict[str, Any]:
    """Return the known values: by design and as measured without the harness, and the probe."""
    known: dict[str, Any] = json.loads(KNOWN_FILE.read_text(encoding="utf-8"))
    return known
