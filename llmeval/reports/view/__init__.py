"""Looking at runs: a page of one or of two side by side, or a local server for large ones."""

from llmeval.reports.view.pages import LARGE_PAGE, write_page

__all__ = ["LARGE_PAGE", "write_page"]
