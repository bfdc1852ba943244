"""One side in a process of its own: ``python -m bench.scoring.sides JOB.json``.

The job names the side; what was measured goes to the job's ``out``. Threads are pinned by the
environment that :mod:`bench.scoring.cells` gives.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.scoring.floor import Floor, count_floor
from bench.scoring.works import GROUP

Job = Mapping[str, Any]
TIE, LOW_PRECISION_TIE = 1e-3, 0.1  # difference of two logits


def main(path: str) -> None:
    job = json.loads(Path(path).read_text(encoding="utf-8"))
    import torch

    torch.set_num_threads(job["threads"])
    roles = {"lm-eval": run_lm_eval, "llmeval": run_llmeval, "model": weigh, "ties": count_ties}
    if job["side"] == "make":
        from bench.scoring.shapes import make_model

        made = make_model(
            job["shape"], Path(job["tokenizer"]), Path(job["cache"]), job["dtype"], job["device"]
        )
        found: dict[str, Any] = {"folder": str(made)}
    else:
        found = roles[job["side"]](job)
    Path(job["out"]).write_text(json.dumps(found), encoding="utf-8")


def weigh(job: Job) -> dict[str, Any]:
    from bench.scoring.machine import measure_model

    return measure_model(job["model"], job["dtype"], job["device"])


# -- lm-eval -----------------------------------------------------------------------------------


def run_lm_eval(job: Job) -> dict[str, Any]:
    """Evaluate with ``simple_evaluate`` and HFLM; its task index is made before the clock."""
    from lm_eval import evaluator, simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    model = HFLM(
        pretrained=job["model"],
        dtype=job["dtype"],
        device=job["device"],
        batch_size=job["batch_size"],
    )
    manager = TaskManager(include_path=job["group_folder"])
    counter = _count_positions(model.model)
    asked, pairs = _record_lm_eval(model)
    inner = _time_calls(evaluator, "evaluate")
    new = job["new_tokens"]
    result, figures = _measure(
        job,
        lambda: simple_evaluate(
            model=model,
            tasks=[GROUP],
            task_manager=manager,
            num_fewshot=job["shots"],
            limit=job["limit"],
            gen_kwargs=None if new is None else {"max_gen_toks": new},
            log_samples=False,
        ),
    )
    answers: dict[str, Any] = {}
    prompts: dict[str, list[int]] = {}
    for arguments, answer in asked:
        if isinstance(answer, str):
            answers[digest(arguments[0])] = {"prompt": arguments[0], "text": answer}
            cut = model.tok_encode(arguments[0])[-(model.max_length - (new or 0)) :]
            prompts[arguments[0]] = cut
        else:
            answers[digest(*arguments)] = [float(answer[0]), bool(answer[1])]
    floor = count_floor(pairs or [(p, ()) for p in prompts.values()], model.max_length)
    return {
        **figures,
        "loaded_wall": inner[0],
        "tokens": counter[0],
        "answers": answers,
        "metrics": _read_lm_eval_metrics(result["results"]),
        "floor": [floor.tokens, floor.seen, floor.logits],
        "prompt_tokens": sum(map(len, prompts.values())),
        "rows": len(prompts),
    }


def _count_positions(model: Any) -> list[int]:
    """Count positions of every forward pass, padding included, from outside."""
    counter = [0]

    def count(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        ids = kwargs.get("input_ids", args[0] if args else None)
        counter[0] += ids.numel()

    model.register_forward_pre_hook(count, with_kwargs=True)
    return counter


def _time_calls(module: Any, name: str) -> list[float]:
    """Sum the seconds of a function's calls, from outside."""
    seconds, function = [0.0], getattr(module, name)

    def timed(*args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            seconds[0] += time.perf_counter() - began

    setattr(module, name, timed)
    return seconds


def _record_lm_eval(model: Any) -> tuple[list[tuple[Any, Any]], list[tuple[Any, Any]]]:
    """Keep what lm-eval asks and answers, and the tokens of its pairs; changes neither."""
    asked: list[tuple[Any, Any]] = []
    pairs: list[tuple[Any, Any]] = []
    score, generate, compute = (
        model.loglikelihood,
        model.generate_until,
        model._loglikelihood_tokens,
    )

    def keep(method: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(requests: Sequence[Any], *args: Any, **kwargs: Any) -> Any:
            answers = method(requests, *args, **kwargs)
            asked.extend(zip((r.args for r in requests), answers, strict=True))
            return answers

        return wrapped

    def tokens(requests: Sequence[Any], *args: Any, **kwargs: Any) -> Any:
        pairs.extend((context, continuation) for _, context, continuation in requests)
        return compute(requests, *args, **kwargs)

    model.loglikelihood, model.generate_until = keep(score), keep(generate)
    model._loglikelihood_tokens = tokens
    return asked, pairs


def _read_lm_eval_metrics(results: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    return {
        f"{task}/{name}": float(value)
        for task, metrics in results.items()
        for name, value in metrics.items()
        if isinstance(value, int | float) and "," in name and "stderr" not in name
    }


# -- llmeval -----------------------------------------------------------------------------------


def run_llmeval(job: Job) -> dict[str, Any]:
    """Evaluate with ``llmeval.run`` into a fresh workspace, record and journal included."""
    import llmeval
    import llmeval.tasks.lmeval.adapter  # lm-eval's import is start-up, on both sides
    from llmeval.models import ModelSettings, load_model

    settings = {"dtype": job["dtype"], "device": job["device"], "threads": job["threads"]}
    model: Any = load_model(f"hf:{job['model']}", ModelSettings.from_mapping(settings))
    answers: dict[str, Any] = {}
    ask = model.answer

    def answer(requests: Sequence[Any]) -> Any:
        given = ask(requests)
        for request, response in zip(requests, given.responses, strict=True):
            _keep(answers, request, response)
        return given

    model.answer = answer
    new = job["new_tokens"]
    run, figures = _measure(
        job,
        lambda: llmeval.run(
            model,
            job["tasks"],
            data=job["mirror"],
            out=Path(job["scratch"]) / "results",
            workspace=job["scratch"],
            limit=job["limit"],
            num_fewshot=job["shots"],
            gen_kwargs={} if new is None else {"max_gen_toks": new},
        ),
    )
    usage, seconds = run.summary["usage"], run.summary["seconds"]
    results = json.loads((run.path / "results.json").read_text(encoding="utf-8"))
    return {
        **figures,
        "loaded_wall": figures["wall"] - seconds["startup"],
        "tokens": usage["computed_tokens"],
        "distinct": usage["distinct_tokens"],
        "completion_tokens": usage["completion_tokens"],
        "seconds": seconds,
        "performance": run.manifest.get("performance"),
        "answers": answers,
        "metrics": _read_lm_eval_metrics(results["results"]),
    }


def _keep(answers: dict[str, Any], request: Any, response: Any) -> None:
    if hasattr(response, "logprob"):
        answers[digest(request.prompt, *request.canonical()[1:2])] = [
            response.logprob,
            response.is_greedy,
        ]
    elif hasattr(response, "text"):
        answers[digest(request.prompt)] = {"prompt": request.prompt, "text": response.text}


# -- both --------------------------------------------------------------------------------------


def digest(*texts: str) -> str:
    """Name a question."""
    return hashlib.sha256("\0".join(texts).encode("utf-8", "replace")).hexdigest()[:24]


def _measure(job: Job, evaluate: Callable[[], Any]) -> tuple[Any, dict[str, Any]]:
    cpu, began = _cpu_seconds(), time.perf_counter()
    result = evaluate()
    figures = {"wall": time.perf_counter() - began, "cpu": _cpu_seconds() - cpu, **_peaks(job)}
    return result, figures


def _cpu_seconds() -> float:
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    usages = [resource.getrusage(kind) for kind in kinds]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _peaks(job: Job) -> dict[str, float]:
    """Return the peak of this process's memory, and of the device's, in MB."""
    text = Path("/proc/self/status").read_text(encoding="utf-8")
    found = re.search(r"VmHWM:\s+(\d+) kB", text)
    assert found is not None
    peaks = {"memory": int(found[1]) / 1024}
    if str(job["device"]).startswith("cuda"):
        import torch

        peaks["device_memory"] = torch.cuda.max_memory_allocated() / 2**20
    return peaks


def count_ties(job: Job) -> dict[str, Any]:
    """Count pairs of unlike texts that part where the model's two best tokens are as good.

    A plain greedy loop goes along what the two texts have in common, and looks at the logits where
    they part.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(job["model"])
    kind = getattr(torch, job["dtype"])
    model = AutoModelForCausalLM.from_pretrained(job["model"], dtype=kind).to(job["device"])
    length = model.config.max_position_embeddings - job["new_tokens"]
    gaps = []
    for prompt, one, other in job["texts"]:
        start = tokenizer(prompt)["input_ids"][-length:]
        common = _share(one, other)
        gaps.append(_find_gap(model, tokenizer, start, common, job["new_tokens"]))
    tie = TIE if job["dtype"] == "float32" else LOW_PRECISION_TIE
    return {"ties": sum(gap < tie for gap in gaps), "gaps": gaps}


def _share(one: str, other: str) -> str:
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return "".join(pair[0] for pair in same)


def _find_gap(model: Any, tokenizer: Any, start: list[int], common: str, steps: int) -> float:
    """Return how far the two best logits lie apart at the last token within ``common``."""
    import torch

    ids, cache, tokens, gap = torch.tensor([start], device=model.device), None, [], 0.0
    for _ in range(steps):
        if not common.startswith(tokenizer.decode(tokens).rstrip("\ufffd")):
            break
        with torch.inference_mode():
            out = model(ids, past_key_values=cache, use_cache=True)
        best = out.logits[0, -1].float().topk(2)
        gap = (best.values[0] - best.values[1]).item()
        cache, ids = out.past_key_values, best.indices[:1].view(1, 1)
        tokens.append(int(ids))
    return gap


def make_floor(found: Mapping[str, Any], ours: Mapping[str, Any], new_tokens: int | None) -> Floor:
    """Return the floor of a work from what the sides reported."""
    floor = Floor(*found["floor"])
    if new_tokens is None:
        return floor
    return floor.with_completions(found["rows"], ours["completion_tokens"], found["prompt_tokens"])


if __name__ == "__main__":
    main(sys.argv[1])
