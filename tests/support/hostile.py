"""Texts that a model, a data set or a file name may hold, and that must stay texts."""

from __future__ import annotations

SCRIPT = "</script><script>window.harmed = 'script'</script>"
HANDLER = '"><img src=x onerror="window.harmed = \'handler\'"><svg onload="window.harmed = 1">'
TEMPLATE = "{{ 7 * 7 }} {% for x in y %} ${7*7} <!--<script>"
BIDI = "safe \u202egnp.exe\u2066 \u200f text"
CONTROLS = "nul \x00 bell \x07 escape \x1b[31m next line \x85 \u2028\u2029 end"
SURROGATE = "half of a pair: \ud83d"
LONG = "a long answer " * 75_000  # 1 MB

TEXTS = (SCRIPT, HANDLER, TEMPLATE, BIDI, CONTROLS, SURROGATE)
"""Short enough to stand anywhere."""
EVERYTHING = "\n".join(TEXTS)
