"""Where lm-eval's tasks get their rows: our data room in the place of ``load_dataset``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from llmeval.core import UsageError
from llmeval.data.fingerprint import fingerprint
from llmeval.data.load import load_dataset

# Names that `datasets` takes for builders rather than for a data set, and that only it can read.
_BUILDERS = frozenset({"text", "arrow", "xml", "pandas", "webdataset"})


class Source:
    """Gives tasks their data and remembers what it gave."""

    def __init__(self, mirror: Path | None) -> None:
        self._mirror = mirror
        self._absent: dict[str, str] = {}
        self._fingerprints: dict[tuple[str, str, str | None, str], dict[str, Any]] = {}

    def give(self, task: Any, dataset_kwargs: Mapping[str, Any] | None) -> None:
        """Set ``task.dataset``: lm-eval's ``ConfigurableTask.download`` with our loader.

        A split for few-shot examples that the data lack is taken out of the task's configuration:
        lm-eval opens it even for 0-shot. :meth:`missing_fewshot_split` says so where it matters.
        """
        config = task.config
        kwargs = {k: v for k, v in (dataset_kwargs or {}).items() if k != "trust_remote_code"}
        if callable(config.custom_dataset):
            task.dataset = config.custom_dataset(**(config.metadata or {}), **kwargs)
        elif task.DATASET_PATH in _BUILDERS:
            import datasets

            task.dataset = datasets.load_dataset(task.DATASET_PATH, task.DATASET_NAME, **kwargs)
        else:
            task.dataset = load_dataset(
                task.DATASET_PATH, task.DATASET_NAME, mirror=self._mirror, **kwargs
            )
        self._drop_absent_splits(task)

    def _drop_absent_splits(self, task: Any) -> None:
        config = task.config
        have = set(task.dataset.keys())
        evaluated = evaluated_split(task)
        if evaluated not in have:
            raise UsageError(
                f"the data set {task.DATASET_PATH} has no split {evaluated!r}, it has"
                f" {', '.join(sorted(have)) or 'none'}",
                where=str(config.task),
                mend="add the split to the mirror, or leave --data out to use the hub",
            )
        wanted = self.fewshot_split(task)  # before another one takes its place
        if wanted is not None and wanted not in have:
            self._absent[str(config.task)] = wanted
        for field in ("training_split", "validation_split"):
            if getattr(config, field) not in have:
                setattr(config, field, None)
        if task.fewshot_cfg.split not in have:
            task.fewshot_cfg.split = None

    def missing_fewshot_split(self, task: Any) -> str | None:
        """Say from where few-shot examples come when their own split is absent, else None."""
        absent = self._absent.get(str(task.config.task))
        if absent is None:
            return None
        split = self.fewshot_split(task)
        instead = "the task's own list" if split is None else repr(split)
        also = ", which is also evaluated" if split == evaluated_split(task) else ""
        return (
            f"the data have no split {absent!r}, so few-shot examples come from {instead}{also};"
            " the numbers are not comparable with published ones"
        )

    @staticmethod
    def fewshot_split(task: Any) -> str | None:
        """Return the split that few-shot examples are drawn from, by lm-eval's order.

        None where the task lists its examples itself.
        """
        config = task.config
        split = task.fewshot_cfg.split
        if split is None and task.fewshot_cfg.samples is None:
            split = config.training_split or config.validation_split or config.test_split
        return None if split is None else str(split)

    def training_split(self, task: Any) -> str:
        """Return the split to learn from: for training, else the one of few-shot examples.

        Raises:
            UsageError: there is none but the evaluated one.
        """
        split = task.config.training_split or self.fewshot_split(task)
        evaluated = evaluated_split(task)
        if split is None or split == evaluated:
            absent = self._absent.get(str(task.config.task))
            what = f"no split {absent!r}" if absent else "no split"
            raise UsageError(
                f"the data have {what} to learn from, only {evaluated!r}, which is evaluated",
                where=str(task.config.task),
                mend="give data with a training split",
            )
        return str(split)

    def training_data(self, task: Any) -> dict[str, Any]:
        """Fingerprint the split to learn from."""
        return self._fingerprint(task, self.training_split(task))

    def fingerprints(self, task: Any, *, with_fewshot: bool) -> list[dict[str, Any]]:
        """Fingerprint the splits that a task reads: id, config, split, rows, digest."""
        splits = [evaluated_split(task)]
        if with_fewshot:
            splits.append(self.fewshot_split(task))
        return [self._fingerprint(task, split) for split in dict.fromkeys(splits) if split]

    def _fingerprint(self, task: Any, split: str) -> dict[str, Any]:
        rows = task.dataset[split]
        path, name = str(task.DATASET_PATH), task.DATASET_NAME
        # The names alone do not say which rows: tasks of one group may read different files.
        identity = getattr(rows, "_fingerprint", None)
        key = (str(identity), path, name, split)
        if identity is None or key not in self._fingerprints:
            found = fingerprint(rows, id=path, config=name, split=split)
            self._fingerprints[key] = asdict(found)
        return self._fingerprints[key]


def evaluated_split(task: Any) -> str | None:
    """Return the split that the questions come from, by lm-eval's order."""
    split = task.config.test_split or task.config.validation_split
    return None if split is None else str(split)
