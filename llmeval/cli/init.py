"""``llmeval init``: make a workspace."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from llmeval.cli.new_files import write_new_files
from llmeval.cli.parser import Parser

_TASK = """\
# A task of your own. `llmeval run -m pocket -t my_first_task` runs it. See docs/tasks.md.
task: my_first_task
type: choice
description: Three questions with four choices each
version: "1"
data:
  path: my_first_task.jsonl          # beside this file, or a hub id such as cais/mmlu
prompt: "Question: {{question}}\\nAnswer:"
choices: "{{choices}}"
answer: "{{answer}}"                  # index of the right choice
id: id
"""

_ROWS = """\
{"id": "1", "question": "Which of these is a colour?", "choices": ["red", "seven", "loud", "soon"], "answer": 0}
{"id": "2", "question": "Which of these is a number?", "choices": ["red", "seven", "loud", "soon"], "answer": 1}
{"id": "3", "question": "Which of these is a time?", "choices": ["red", "seven", "loud", "soon"], "answer": 3}
"""  # noqa: E501  one row a line

_RUN = """\
# `llmeval run run.yaml`; options of the command line override what stands here.
model: pocket
tasks: [my_first_task]
options:
  limit: 100
"""

_IGNORE = ".llmeval/\nresults/*\n"

_FILES = {
    "tasks/my_first_task.yaml": _TASK,
    "tasks/my_first_task.jsonl": _ROWS,
    "run.yaml": _RUN,
    ".gitignore": _IGNORE,
}


def main(argv: Sequence[str]) -> int:
    parser = Parser(
        prog="llmeval init",
        description="Make a workspace: a folder with a task and a run file of your own.",
        epilog="example:\n  llmeval init evals && cd evals && llmeval run run.yaml",
    )
    parser.add_argument("folder", type=Path, metavar="DIR")
    folder = parser.parse_args(argv).folder
    write_new_files(folder, _FILES)
    print(f"now: cd {shlex.quote(str(folder))} && llmeval run run.yaml")
    return 0
