"""From a validated file to the task that runs it."""

from __future__ import annotations

import logging
from pathlib import Path

from llmeval.tasks.native.choice import ChoiceTaskRunner
from llmeval.tasks.native.code import CodeTaskRunner
from llmeval.tasks.native.generate import GenerateTaskRunner
from llmeval.tasks.native.spec import ChoiceTask, CodeTask, GenerateTask, StepsTask, TaskSpec
from llmeval.tasks.native.steps import StepsTaskRunner
from llmeval.tasks.native.task import NativeTask, Setting
from llmeval.tasks.options import TaskOptions, Workbench

log = logging.getLogger(__name__)


def build_task(
    spec: TaskSpec, path: Path, options: TaskOptions, workbench: Workbench
) -> NativeTask:
    """Return the task of a spec, its first row tried."""
    if options.num_fewshot and isinstance(spec, CodeTask | StepsTask):
        log.warning("%s: a task of type %s shows no examples", spec.task, spec.type)
    task = _build(spec, Setting(path, options, workbench))
    task.check()
    return task


def _build(spec: TaskSpec, setting: Setting) -> NativeTask:
    if isinstance(spec, ChoiceTask):
        return ChoiceTaskRunner(spec, setting)
    if isinstance(spec, GenerateTask):
        return GenerateTaskRunner(spec, setting)
    if isinstance(spec, CodeTask):
        return CodeTaskRunner(spec, setting)
    return StepsTaskRunner(spec, setting)
