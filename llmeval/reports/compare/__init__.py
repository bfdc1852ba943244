"""Two runs or more, item by item: what changed, how sure that is, and what could not be seen."""

from llmeval.reports.compare.build import Options, compare_runs
from llmeval.reports.compare.comparison import Comparison, Pair, Row
from llmeval.reports.compare.markdown import to_markdown
from llmeval.reports.compare.page import to_html
from llmeval.reports.compare.plain import to_plain
from llmeval.reports.compare.selection import Wanted

__all__ = [
    "Comparison",
    "Options",
    "Pair",
    "Row",
    "Wanted",
    "compare_runs",
    "to_html",
    "to_markdown",
    "to_plain",
]
