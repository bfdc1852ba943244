"""The manifest of an imported run: what lm-eval said of how it was made."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from typing import Any

from llmeval.core import fingerprint
from llmeval.runs.lm_eval.files import LmEvalFiles, model_name, read_date
from llmeval.runs.lm_eval.numbers import finite

_SECRET = re.compile(r"api_?key|secret|password|credential|auth|(?:hf|access)_token", re.I)


def describe(
    run_id: str, tasks: Mapping[str, int | None], content: Mapping[str, Any], files: LmEvalFiles
) -> dict[str, Any]:
    """Return the manifest.

    Args:
        tasks: by name, with how many examples were shown; None where that is not known.
    """
    config = content.get("config") or {}
    version = str(content.get("lm_eval_version") or "of unknown version")
    started = datetime.datetime.fromtimestamp(read_date(content), datetime.UTC)
    ended = started + datetime.timedelta(seconds=read_seconds(content))
    subtasks = content.get("group_subtasks") or {}
    return {
        "run_id": run_id,
        "status": "complete",
        "started": started.isoformat(timespec="seconds"),
        "written": ended.isoformat(timespec="seconds"),
        "imported": {
            "tool": f"lm-eval {version}",
            "results": files.results.name,
            "without_samples": [name for name in tasks if name not in files.samples],
        },
        "model": {
            "backend": f"lm-eval {config.get('model') or 'model'}",
            "name": model_name(content),
            "parameters": config.get("model_num_parameters"),
            "settings": _read_settings(config.get("model_args")),
            "dtype": str(config.get("model_dtype") or "").removeprefix("torch.") or None,
            "fingerprint": fingerprint_model(content),
        },
        "tasks": {
            name: {
                "version": read_version(name, content),
                "num_fewshot": shots,
                "source": f"imported from lm-eval {version}",
                "config": content["configs"][name],
                "data": describe_data(name, content),
            }
            for name, shots in tasks.items()
        },
        "options": _read_options(content),
        "groups": {name: list(members) for name, members in subtasks.items() if members},
        "seeds": {"fewshot": config.get("fewshot_seed"), "sampling": config.get("torch_seed")},
        "window": None,
        "limits": {"usd": None, "requests": None, "minutes": None},
        "command": None,
        "sandbox": None,
        "performance": None,
        "environment": _describe_environment(content),
    }


def _read_settings(given: Any) -> dict[str, Any]:
    """Return the model's arguments, a mapping or ``a=b,c=d``; never a secret."""
    if isinstance(given, str):
        given = dict(part.partition("=")[::2] for part in given.split(",") if part)
    settings = dict(given) if isinstance(given, Mapping) else {}
    return {name: value for name, value in settings.items() if not _SECRET.search(str(name))}


def _describe_environment(content: Mapping[str, Any]) -> dict[str, Any]:
    named = {"lm_eval": "lm_eval_version", "transformers": "transformers_version"}
    packages = {name: str(content[key]) for name, key in named.items() if content.get(key)}
    unknown = dict.fromkeys(("python", "platform", "machine", "cpus", "code", "workspace"))
    return {**unknown, "packages": packages, "variables": {}}


def read_version(task: str, content: Mapping[str, Any]) -> str:
    """Return a task's version as text."""
    return str((content.get("versions") or {}).get(task, "unknown"))


def _read_options(content: Mapping[str, Any]) -> dict[str, Any]:
    config = content.get("config") or {}
    limit = finite(config.get("limit"))
    settings = config.get("gen_kwargs") or {}
    return {
        "num_fewshot": None,
        "limit": int(limit) if limit is not None and limit >= 1 else None,
        "apply_chat_template": bool(content.get("chat_template")),
        "system_instruction": content.get("system_instruction"),
        "fewshot_as_multiturn": bool(content.get("fewshot_as_multiturn")),
        "gen_kwargs": settings if isinstance(settings, Mapping) else {"as given": settings},
        "repeats": None,
        "seed": config.get("fewshot_seed"),
        "cut_answers": "auto",
        "max_errors": 0.0,
    }


def describe_data(task: str, content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the data set of a task; lm-eval logs no fingerprint of it."""
    config = content["configs"][task] or {}
    rows = ((content.get("n-samples") or {}).get(task) or {}).get("original")
    return [
        {
            "id": str(config.get("dataset_path")),
            "config": config.get("dataset_name"),
            "split": config.get("test_split") or config.get("validation_split"),
            "rows": rows,
            "digest": None,
        }
    ]


def read_seconds(content: Mapping[str, Any]) -> float:
    """Return lm-eval's own figure: the whole evaluation, the model's loading included."""
    try:
        return round(float(content.get("total_evaluation_time_seconds") or 0), 3)
    except (TypeError, ValueError):
        return 0.0


def fingerprint_model(content: Mapping[str, Any]) -> str:
    """Return a name of the model as lm-eval described it: it logs no digest of the weights."""
    config = content.get("config") or {}
    told = [config.get(k) for k in ("model", "model_args", "model_sha", "model_dtype")]
    return fingerprint(["lm-eval", model_name(content), *told])
