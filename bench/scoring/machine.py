"""The machine: what it is, how fast it multiplies matrices, and what a model asks of it."""

from __future__ import annotations

import datetime
import os
import platform
import re
import time
from pathlib import Path
from typing import Any

_ROWS = 256
_SQUARE = 2048
_SECONDS = 2.0
_REPEATS = 5


def describe_machine(threads: int) -> dict[str, Any]:
    """Return processor, cores, threads used, versions and date."""
    from importlib.metadata import version

    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "threads": threads,
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "transformers", "lm_eval")},
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "load": round(os.getloadavg()[0], 1),
    }


def _cpu_name() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or "unknown"
    lines = dict(re.findall(r"^(model name|cpu family|model)\s*:\s*(.+)$", text, re.MULTILINE))
    more = f" (family {lines['cpu family']}, model {lines['model']})" if "model" in lines else ""
    return lines.get("model name", "unknown") + more


def measure_model(folder: str, dtype: str, device: str) -> dict[str, Any]:
    """Return a model's costs and the machine's ceiling at its shapes (run in the pinned process).

    Costs are FLOPs: ``body`` of a token through all matrices but the head, ``attention`` of a
    token for each row that it sees, ``head`` of a position whose logits are wanted.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(folder)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    skipped = {id(model.get_input_embeddings().weight), id(model.get_output_embeddings().weight)}
    body = sum(p.numel() for p in model.parameters() if p.dim() == 2 and id(p) not in skipped)
    heads, hidden = config.num_attention_heads, config.hidden_size
    width = heads * (getattr(config, "head_dim", None) or hidden // heads)
    inner = config.intermediate_size
    rates = {
        f"{_ROWS}x{hidden}x{inner}": _measure_rate(_ROWS, hidden, inner, dtype, device),
        f"{_ROWS}x{inner}x{hidden}": _measure_rate(_ROWS, inner, hidden, dtype, device),
        f"{_SQUARE}x{_SQUARE}x{_SQUARE}": _measure_rate(_SQUARE, _SQUARE, _SQUARE, dtype, device),
    }
    return {
        "parameters": model.num_parameters(),
        "body": 2 * body,
        "attention": 4 * config.num_hidden_layers * width,
        "head": 2 * hidden * config.vocab_size,
        "gflops": {shape: round(rate / 1e9, 1) for shape, rate in rates.items()},
        "ceiling": max(rates.values()),
        "device": torch.cuda.get_device_name() if device.startswith("cuda") else "cpu",
    }


def _measure_rate(rows: int, inner: int, columns: int, dtype: str, device: str) -> float:
    """Return FLOP/s of ``[rows, inner] @ [columns, inner].T``: the best of several rounds."""
    import torch

    kind = getattr(torch, dtype)
    left = torch.randn(rows, inner, device=device, dtype=kind)
    right = torch.randn(columns, inner, device=device, dtype=kind).t()
    wait = torch.cuda.synchronize if device.startswith("cuda") else (lambda: None)
    torch.mm(left, right)
    work, best = 2.0 * rows * inner * columns, 0.0
    for _ in range(_REPEATS):
        done, began = 0, time.perf_counter()
        while (spent := time.perf_counter() - began) < _SECONDS / _REPEATS or done < 2:
            for _ in range(8 if rows < _SQUARE else 1):
                torch.mm(left, right)
                done += 1
            wait()
        spent = time.perf_counter() - began
        best = max(best, done * work / spent)
    return best
