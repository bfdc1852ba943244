"""``llmeval runs import``: records of what lm-eval wrote."""

from __future__ import annotations

from argparse import Namespace

from llmeval.cli.streams import one_line, say
from llmeval.runs.find import records_folder
from llmeval.runs.imports import import_all


def main(arguments: Namespace) -> int:
    folder = records_folder(arguments.out)
    for path in arguments.paths:
        for run in import_all(path, folder):
            tasks = ", ".join(run.summary["tasks"])
            print(one_line(f"{run.id}  {run.summary['model']['name']}  {tasks}"))
            for task in run.manifest["imported"]["without_samples"]:
                say(one_line(f"llmeval: {run.id}: no samples of {task}: only its numbers"))
    return 0
