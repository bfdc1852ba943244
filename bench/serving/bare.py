"""The floor: a loop of N tasks over aiohttp that writes JSON lines, and nothing else.

``python bare.py --url URL --questions FILE --out FOLDER`` leaves ``answers.jsonl`` and, of its own
clock, ``done.json``. It stands alone, so that nothing of the bench is imported into it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import aiohttp

LETTERS = "ABCD"


def read_prompts(path: Path, limit: int | None) -> Iterator[dict[str, Any]]:
    """Yield the questions with their prompts, as the other sides' templates render them."""
    with path.open(encoding="utf-8") as file:
        for line in islice(file, limit):
            row = json.loads(line)
            options = zip(LETTERS, row["choices"], strict=True)
            lines = [row["question"], *(f"{letter}. {text}" for letter, text in options)]
            yield {**row, "prompt": "\n".join([*lines, "Answer with one letter."])}


Post = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]
Step = Callable[[], Awaitable[dict[str, Any] | None]]


def plan_letter(post: Post, row: dict[str, Any]) -> list[Step]:
    """Have a letter written."""

    async def ask() -> dict[str, Any]:
        body = {
            "model": "mock-model",
            "messages": [{"role": "user", "content": row["prompt"]}],
            "max_tokens": 8,
            "temperature": 0,
        }
        reply = await post("/chat/completions", body)
        text = reply["choices"][0]["message"]["content"]
        return {**row, "said": text, "right": text.strip() == row["answer"]}

    return [ask]


def plan_scores(post: Post, row: dict[str, Any]) -> list[Step]:
    """Have the four letters echoed behind the prompt, a request each, and take the best."""
    found: dict[str, float] = {}

    async def score(letter: str) -> dict[str, Any] | None:
        body = {
            "model": "mock-model",
            "prompt": f"{row['prompt']} {letter}",
            "max_tokens": 0,
            "logprobs": 1,
            "echo": True,
            "temperature": 0,
        }
        reply = await post("/completions", body)
        found[letter] = reply["choices"][0]["logprobs"]["token_logprobs"][-1]
        if len(found) < len(LETTERS):
            return None
        said = max(found, key=lambda letter: found[letter])
        return {**row, "said": said, "logprobs": found, "right": said == row["answer"]}

    return [partial(score, letter) for letter in LETTERS]


async def work(given: argparse.Namespace, log: TextIO) -> dict[str, float]:
    """Answer all questions; return how many, how many rightly, and the seconds of it."""
    done = right = 0
    connector = aiohttp.TCPConnector(limit=given.connections)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
            async with session.post(given.url + path, json=body) as response:
                reply: dict[str, Any] = await response.json()
            return reply

        plan = plan_scores if given.kind == "choice" else plan_letter
        rows = read_prompts(given.questions, given.limit)
        steps = (step for row in rows for step in plan(post, row))

        async def run() -> None:
            nonlocal done, right
            for step in steps:
                answered = await step()
                if answered is not None:
                    log.write(json.dumps(answered) + "\n")
                    done += 1
                    right += answered["right"]

        began = time.perf_counter()
        await asyncio.gather(*(run() for _ in range(given.connections)))
        seconds = time.perf_counter() - began
    return {"n": done, "accuracy": right / done, "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--questions", type=Path, required=True)
    parser.add_argument("--kind", choices=("generate", "choice"), default="generate")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    with (given.out / "answers.jsonl").open("w", encoding="utf-8") as log:
        found = asyncio.run(work(given, log))
    (given.out / "done.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
