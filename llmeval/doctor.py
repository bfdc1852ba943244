"""Checks an installation against the embedded model, whose answers are known.

The known values were measured with a plain transformers loop, not with this harness, so agreement
says something about both. Any backend that serves the pocket model can be checked.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmeval.core import (
    InformedModel,
    LlmevalError,
    Loglikelihood,
    LoglikelihoodRequest,
    Model,
    ServedModel,
    UsageError,
)
from llmeval.engine import Progress
from llmeval.models import ModelSettings, load_model
from llmeval.pocket import load_known
from llmeval.run_spec import RunSpec
from llmeval.runs import Run
from llmeval.session import execute

SUITE = "pocket"
LOGPROB_TOLERANCE = {"float32": 1e-3, "auto": 1e-3}
_COARSE_TOLERANCE = 0.3  # half precision: eight bits of mantissa on sums of some tens


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. ``ok`` is None for what is only told."""

    name: str
    ok: bool | None
    detail: str


def examine(
    model_name: str,
    settings: ModelSettings,
    *,
    allow_unsafe_code: bool = False,
    progress: Progress | None = None,
) -> Iterator[Check]:
    """Yield the findings: environment, sandbox, probe questions, suite.

    Raises:
        LlmevalError: the model cannot be loaded or the suite cannot run.
    """
    yield _check_packages()
    yield _check_hub()
    yield _check_sandbox(allow_unsafe_code)
    model = load_model(model_name, settings)
    if isinstance(model, InformedModel):
        raise UsageError("a baseline answers nothing to check", where=model_name)
    if isinstance(model, ServedModel):
        raise UsageError("only models in this process are checked", where=model_name)
    known = load_known()
    with contextlib.closing(model):
        yield from _check_model(model, known, settings, allow_unsafe_code, progress)


def _check_model(
    model: Model,
    known: dict[str, Any],
    settings: ModelSettings,
    allow_unsafe_code: bool,
    progress: Progress | None,
) -> Iterator[Check]:
    yield from _check_probe(model, known["probe"], settings.dtype)
    with tempfile.TemporaryDirectory(prefix="llmeval-doctor-") as folder:
        spec = RunSpec(
            model=model,
            tasks=(SUITE,),
            workspace=Path(folder),
            out=Path(folder) / "results",
            allow_unsafe_code=allow_unsafe_code,
        )
        yield from _check_suite(execute(spec, progress), known["tasks"])


def _check_packages() -> Check:
    names = ("llmeval", "lm_eval", "torch", "transformers", "datasets")
    versions = []
    for name in names:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"no {name}")
    return Check("packages", None, ", ".join(versions))


def _check_hub() -> Check:
    from llmeval.data.hub import why_offline

    obstacle = why_offline()
    return Check("hub", None, obstacle or "can be reached")


def _check_sandbox(allow_unsafe: bool) -> Check:
    from llmeval.sandbox import detect_tier

    try:
        return Check("sandbox", True, detect_tier(allow_unsafe))
    except LlmevalError as error:
        return Check("sandbox", False, str(error))


def _check_probe(model: Model, probe: Sequence[Mapping[str, Any]], dtype: str) -> Iterator[Check]:
    """Ask single questions whose log-probabilities are known."""
    tolerance = LOGPROB_TOLERANCE.get(dtype, _COARSE_TOLERANCE)
    requests = [LoglikelihoodRequest(row["context"], row["continuation"]) for row in probe]
    worst, greedy = 0.0, 0
    for batch in model.plan(requests):
        answers = model.answer([requests[i] for i in batch]).responses
        for i, answer in zip(batch, answers, strict=True):
            if not isinstance(answer, Loglikelihood):
                yield Check("probe", False, f"no answer to question {i}: {answer}")
                return
            worst = max(worst, abs(answer.logprob - probe[i]["logprob"]))
            greedy += answer.is_greedy == probe[i]["is_greedy"]
    detail = f"{len(probe)} log-probabilities, largest difference {worst:.1e} (at most {tolerance})"
    yield Check("probe log-probabilities", worst <= tolerance, detail)
    yield Check("probe greedy flags", greedy == len(probe), f"{greedy} of {len(probe)} agree")


def _check_suite(run: Run, known: Mapping[str, Any]) -> Iterator[Check]:
    """Compare every metric's value on every slice with the bounds that its design gives."""
    slices = slice_means(run)
    for task, expected in known.items():
        for metric, by_slice in expected["metrics"].items():
            for name, row in by_slice.items():
                if name == "all":
                    continue
                value, n = slices.get((task, metric, name), (None, 0))
                low, high = row["bounds"]
                ok = value is not None and n == row["n"] and low <= value <= high
                shown = "none" if value is None else f"{value:.3f}"
                detail = (
                    f"{shown} on n={n}; designed {row['design']:.3f} in [{low:.3f}, {high:.3f}],"
                    f" measured elsewhere {row['measured']:.3f} on n={row['n']}"
                )
                yield Check(f"{task} {metric} taught:{name}", ok, detail)


def slice_means(run: Run, field: str = "taught") -> dict[tuple[str, str, str], tuple[float, int]]:
    """Return mean and n of the scored samples by task, metric and a field of their metadata."""
    samples = run.samples.select(["task", "sample_id", "metadata"]).to_pylist()
    where = {(s["task"], s["sample_id"]): json.loads(s["metadata"]).get(field) for s in samples}
    values: dict[tuple[str, str, str], list[float]] = {}
    for score in run.scores.to_pylist():
        part = where[score["task"], score["sample_id"]]
        if part is not None and score["value"] is not None:
            values.setdefault((score["task"], score["metric"], part), []).append(score["value"])
    return {key: (sum(found) / len(found), len(found)) for key, found in values.items()}
