"""Train the pocket model from a seed: ``python -m llmeval.pocket.train --out DIR --seed 0``.

The same seed, thread count, machine and torch give the same weights, bit for bit. Nothing outside
this package is read: the corpus is generated, the tokenizer is trained on it first.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import math
import os
import platform
import random
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llmeval.pocket.corpus import BOS, EOS, Document, generate_cycle
from llmeval.pocket.tokenizer import CONTEXT_LENGTH, save_tokenizer, train_tokenizer

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer
    from transformers import LlamaForCausalLM

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """Everything besides the seed that determines the weights.

    Attributes:
        cycles: how often the corpus is gone through; each cycle has other forms and order.
        batch_tokens: padded tokens of one step.
        context_weight: loss weight of tokens that are not an answer; an answer token has 1.
        threads: torch threads; another number sums in another order and gives other weights.
            On a busy machine two wait for each other and are far slower than one.
    """

    cycles: int = 64
    batch_tokens: int = 3072
    learning_rate: float = 3e-3
    warmup: float = 0.05
    weight_decay: float = 0.01
    context_weight: float = 0.1
    hidden: int = 128
    layers: int = 4
    heads: int = 4
    key_value_heads: int = 2
    intermediate: int = 352
    threads: int = 1
    max_steps: int | None = None


@dataclass(frozen=True)
class Row:
    """A tokenized document: ids and the loss weight of each id as a target."""

    ids: tuple[int, ...]
    weights: tuple[float, ...]


def encode_document(tokenizer: Tokenizer, document: Document, context_weight: float) -> Row:
    """Tokenize the segments one by one; the tokenizer never merges across their boundary."""
    ids: list[int] = []
    weights: list[float] = []
    for segment in document.segments:
        tokens = tokenizer.encode(segment.text).ids
        ids += tokens
        weights += [1.0 if segment.answer else context_weight] * len(tokens)
    return Row(tuple(ids), tuple(weights))


def plan_batches(rows: list[Row], batch_tokens: int, rng: random.Random) -> list[list[Row]]:
    """Group rows of similar length, at most ``batch_tokens`` with padding, in random order."""
    rows = rng.sample(rows, len(rows))
    rows.sort(key=lambda row: len(row.ids))  # stable: equal lengths stay shuffled
    batches: list[list[Row]] = [[]]
    for row in rows:
        if batches[-1] and (len(batches[-1]) + 1) * len(row.ids) > batch_tokens:
            batches.append([])
        batches[-1].append(row)
    rng.shuffle(batches)
    return batches


def build_model(recipe: Recipe, tokenizer: Tokenizer) -> LlamaForCausalLM:
    """Return a fresh Llama with tied embeddings; torch's seed determines its weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=tokenizer.get_vocab_size(),
            hidden_size=recipe.hidden,
            intermediate_size=recipe.intermediate,
            num_hidden_layers=recipe.layers,
            num_attention_heads=recipe.heads,
            num_key_value_heads=recipe.key_value_heads,
            max_position_embeddings=CONTEXT_LENGTH,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.token_to_id(BOS),
            eos_token_id=tokenizer.token_to_id(EOS),
            pad_token_id=tokenizer.token_to_id(EOS),
        )
    )


def learning_rate(recipe: Recipe, progress: float) -> float:
    """Warm up linearly, then fall to zero along a cosine; ``progress`` runs from 0 to 1."""
    if progress < recipe.warmup:
        return recipe.learning_rate * (progress + 1e-3) / recipe.warmup
    phase = (progress - recipe.warmup) / (1 - recipe.warmup)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * phase))


def iterate_batches(
    tokenizer: Tokenizer, recipe: Recipe, seed: int
) -> Iterator[tuple[float, list[Row]]]:
    """Yield (progress from 0 to 1, batch) over all cycles."""
    for cycle in range(recipe.cycles):
        rows = [
            encode_document(tokenizer, document, recipe.context_weight)
            for document in generate_cycle(seed, cycle)
        ]
        batches = plan_batches(rows, recipe.batch_tokens, random.Random(f"order {seed} {cycle}"))
        for number, batch in enumerate(batches):
            yield (cycle + number / len(batches)) / recipe.cycles, batch


def batch_loss(model: LlamaForCausalLM, batch: list[Row]) -> torch.Tensor:
    """Return the weighted mean negative log-likelihood of a batch, in nats per weight."""
    import torch

    width = max(len(row.ids) for row in batch)
    ids = torch.zeros(len(batch), width, dtype=torch.long)
    weights = torch.zeros(len(batch), width)
    for number, row in enumerate(batch):
        ids[number, : len(row.ids)] = torch.tensor(row.ids)
        weights[number, : len(row.ids)] = torch.tensor(row.weights)
    # Right padding under a causal mask is never seen by a real token: no attention mask needed.
    logits = model(input_ids=ids[:, :-1]).logits
    losses = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none"
    )
    targets = weights[:, 1:].flatten()
    return (losses * targets).sum() / targets.sum()


def train_model(tokenizer: Tokenizer, recipe: Recipe, seed: int) -> tuple[LlamaForCausalLM, float]:
    """Return the trained model and its mean loss over the last cycle."""
    import torch

    torch.manual_seed(seed)
    torch.set_num_threads(recipe.threads)
    model = build_model(recipe, tokenizer)
    model.train()
    optimizer = torch.optim.AdamW(
        model.parameters(), betas=(0.9, 0.98), weight_decay=recipe.weight_decay, fused=True
    )
    start = time.perf_counter()
    recent: list[float] = []
    for step, (progress, batch) in enumerate(iterate_batches(tokenizer, recipe, seed)):
        if step == recipe.max_steps:
            break
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(recipe, progress)
        loss = batch_loss(model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        recent = [*recent[-49:], loss.item()]
        if step % 50 == 0:
            mean = sum(recent) / len(recent)
            seconds = time.perf_counter() - start
            log.info("step %d  %.0f%%  loss %.4f  %.0f s", step, 100 * progress, mean, seconds)
    return model.eval(), sum(recent) / len(recent)


def train(out: Path, seed: int, recipe: Recipe | None = None) -> dict[str, object]:
    """Train, write the checkpoint folder ``out``, and return the figures of training.json."""
    import torch

    recipe = recipe or Recipe()
    out.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    tokenizer = train_tokenizer(seed)
    model, loss = train_model(tokenizer, recipe, seed)
    model.save_pretrained(out)
    (out / "model.safetensors").chmod(0o644)  # safetensors writes 0600, unreadable once installed
    save_tokenizer(tokenizer, out)
    figures: dict[str, object] = {
        "command": f"python -m llmeval.pocket.train --out DIR --seed {seed}",
        "seed": seed,
        "recipe": asdict(recipe),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "final_loss": round(loss, 5),
        "seconds": round(time.perf_counter() - start, 1),
        "torch": torch.__version__,
        "machine": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        "cores": os.cpu_count(),
        "sha256": hash_file(out / "model.safetensors"),
    }
    text = json.dumps(figures, indent=1) + "\n"
    (out / "training.json").write_text(text, encoding="utf-8")
    return figures


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> None:
    """Command line of the trainer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    figures = train(arguments.out, arguments.seed)
    log.info("%s", json.dumps(figures))


if __name__ == "__main__":
    main()
