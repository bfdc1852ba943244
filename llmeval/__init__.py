"""llmeval: evaluate language models and the systems built on them.

    import llmeval

    run = llmeval.run("hf:gpt2", ["hellaswag"], limit=100)
    run.summary["tasks"]["hellaswag"]["metrics"]["acc"]
    llmeval.load_run("results/...").samples.to_pandas()
    llmeval.compare("results/A", "results/B").pairs[0].rows[0].verdict

Importing this package is cheap; what is heavy is imported when it is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmeval.core import InformedModel, Model, ServedModel, Task
    from llmeval.reports.compare import Comparison
    from llmeval.reports.leaderboard import Board
    from llmeval.run_spec import RunSpec
    from llmeval.runs import Run

__all__ = ["__version__", "compare", "leaderboard", "load_run", "run"]
__version__ = "0.1.0"


def run(
    model: str | Model | ServedModel | InformedModel,
    tasks: str | Task | Sequence[str | Task],
    *,
    model_settings: dict[str, Any] | None = None,
    data: str | Path | None = None,
    out: str | Path = "results",
    workspace: str | Path | None = None,
    window: int | None = None,
    max_errors: float = 0.05,
    allow_unsafe_code: bool = False,
    max_usd: float | None = None,
    max_requests: int | None = None,
    max_minutes: float | None = None,
    **options: Any,
) -> Run:
    """Evaluate a model on tasks and return the run record.

    Args:
        model: a name as on the command line (``hf:gpt2``, ``pocket``), or a model object.
        tasks: names of tasks, suites, lm-eval tasks or YAML files, or task objects.
        model_settings: settings of the model's kind (``docs/models.md``).
        data: local mirror of data sets.
        out: folder for the record.
        workspace: folder of the journal; the working folder or ``LLMEVAL_HOME`` by default.
        window: samples evaluated concurrently.
        max_errors: share of errored samples beyond which the result is invalid.
        allow_unsafe_code: run generated code even where no sandbox can be had.
        max_usd, max_requests, max_minutes: bounds; on reaching one, BudgetReached is raised, and
            the same call with a higher one continues.
        options: fields of :class:`llmeval.tasks.options.TaskOptions` (``limit``, ``num_fewshot``).

    Raises:
        LlmevalError: the run could not be done; its text says where and how to mend it.
    """
    from llmeval.run_spec import make_spec

    names = [tasks] if isinstance(tasks, str) or not isinstance(tasks, Sequence) else tasks
    spec = make_spec(
        model,
        names,
        model_settings=model_settings or {},
        options=options,
        data=data,
        out=out,
        workspace=workspace,
        window=window,
        max_errors=max_errors,
        allow_unsafe_code=allow_unsafe_code,
        max_usd=max_usd,
        max_requests=max_requests,
        max_minutes=max_minutes,
    )
    return _execute(spec)


def _execute(spec: RunSpec) -> Run:
    """Do the run; in a thread of its own where an event loop runs already, as in a notebook."""
    import asyncio

    from llmeval.session import execute

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return execute(spec)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1, thread_name_prefix="llmeval-run") as pool:
        return pool.submit(execute, spec).result()


def load_run(path: str | Path) -> Run:
    """Return the run record in a folder; see :func:`llmeval.runs.load_run`."""
    from llmeval.runs import load_run as load

    return load(path)


def compare(
    baseline: str | Path | Run,
    challenger: str | Path | Run,
    *more: str | Path | Run,
    tasks: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    all_metrics: bool = False,
    across_forms: bool = False,
    partial: bool = False,
    examples: int = 2,
    out: str | Path | None = None,
) -> Comparison:
    """Compare runs with a baseline, item by item; see ``docs/comparing.md``.

    Args:
        baseline, challenger, more: runs, their folders, ids, tags, or ``latest``.
        tasks: only these tasks and groups.
        metrics: only these metrics; each task's first by default.
        all_metrics: every metric that both runs have.
        across_forms: compare what was asked in different forms.
        partial: take interrupted runs, too.
        examples: items that changed sides to tell in full, for each task in each direction.
        out: folder of records.

    Raises:
        UsageError: the runs are not comparable; its text says why.
    """
    from llmeval.reports.compare import Options, Wanted, compare_runs
    from llmeval.runs import Run
    from llmeval.runs.find import find_run

    runs = [
        run if isinstance(run, Run) else find_run(str(run), out)
        for run in (baseline, challenger, *more)
    ]
    wanted = Wanted(
        tasks=None if tasks is None else tuple(tasks),
        metrics=None if metrics is None else tuple(metrics),
        all_metrics=all_metrics,
    )
    return compare_runs(runs, Options(wanted, across_forms, partial, examples))


def leaderboard(
    *runs: str | Path | Run,
    tasks: Sequence[str] | None = None,
    models: str | None = None,
    metrics: Sequence[str] = (),
    all_runs: bool = False,
    normalize: bool = False,
    by: str | None = None,
    out: str | Path | None = None,
) -> Board:
    """Put many runs into one table; see ``docs/leaderboards.md``.

    Args:
        runs: records, their folders, folders of records, ids or beginnings of ids, tags, results of
            lm-eval; all records of ``out`` where none is named.
        tasks: names and patterns of tasks and groups; all by default.
        models: a pattern of models' names.
        metrics: ``acc_norm`` for every task that has it, ``hellaswag=acc_norm`` for one.
        all_runs: a row for every run instead of one for every model.
        normalize: average how far values are above chance.
        by: the task to sort and plot by; the average by default.
        out: folder of records.

    Raises:
        UsageError: nothing is left to show; its text says why.
    """
    from llmeval.reports.leaderboard import Choices, build_board
    from llmeval.reports.leaderboard.gather import gather
    from llmeval.runs import Run

    named = [run.path if isinstance(run, Run) else run for run in runs]
    wanted = Choices(
        tasks=None if tasks is None else tuple(tasks),
        models=models,
        metrics=tuple(metrics),
        all_runs=all_runs,
        normalize=normalize,
        by=by,
    )
    return build_board(gather(named, out), wanted)
