"""The side-by-side bench: its floor against brute force, its verdict, its command line."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from bench.scoring.agreement import compare, judge
from bench.scoring.floor import count_floor
from bench.scoring.works import GROUP, WORKS, write_lm_eval_group

tokens = st.lists(st.integers(0, 2), min_size=1, max_size=6)


@given(st.lists(st.tuples(tokens, tokens), max_size=8), st.integers(1, 12))
def test_floor_counts_prefixes(pairs: list[tuple[list[int], list[int]]], length: int) -> None:
    nodes: set[tuple[int, ...]] = set()
    wanted: set[tuple[int, ...]] = set()
    for context, continuation in pairs:
        inputs = tuple(context + continuation)[-(length + 1) :][:-1]
        nodes |= {inputs[:end] for end in range(1, len(inputs) + 1)}
        first = max(0, len(inputs) - len(continuation))
        wanted |= {inputs[:end] for end in range(first + 1, len(inputs) + 1)}
    floor = count_floor(pairs, length)
    assert floor.tokens == len(nodes)
    assert floor.seen == sum(map(len, nodes))
    assert floor.logits == len(wanted)


@given(st.lists(tokens, max_size=8))
def test_floor_of_prompts_wants_no_logits(prompts: list[list[int]]) -> None:
    floor = count_floor([(prompt, ()) for prompt in prompts], 4)
    nodes = {tuple(p[-4:][:end]) for p in prompts for end in range(1, len(p[-4:]) + 1)}
    assert (floor.tokens, floor.logits) == (len(nodes), 0)


def _side(logprob: float, acc: float = 0.5) -> dict[str, dict[str, object]]:
    return {"answers": {"q": [logprob, False]}, "metrics": {"task/acc,none": acc}}


def test_verdict() -> None:
    assert judge(compare(_side(-1.0), _side(-1.0005), "float32")).startswith("yes")
    assert judge(compare(_side(-1.0), _side(-1.002), "float32")).startswith("NO")
    assert judge(compare(_side(-1.0), _side(-1.0, acc=0.6), "float32")).startswith("NO")
    other = _side(-1.0) | {"answers": {"r": [-1.0, False]}}
    assert "one side only" in judge(compare(_side(-1.0), other, "float32"))


def test_unlike_texts_are_a_fault_unless_they_are_ties() -> None:
    one, other = (
        {"answers": {"q": {"prompt": "p", "text": text}}, "metrics": {"t/exact_match": 0.0}}
        for text in "ab"
    )
    found = compare(one, other, "float32")
    assert judge(found).startswith("NO")
    assert judge(found | {"ties": 1}).startswith("yes")


def test_group_file_points_lm_eval_at_the_mirror(tmp_path: Path) -> None:
    import yaml

    data = tmp_path / "Rowan" / "hellaswag" / "default"
    data.mkdir(parents=True)
    (data / "validation.parquet").touch()
    write_lm_eval_group(["hellaswag"], tmp_path, tmp_path / "group")
    written = yaml.safe_load((tmp_path / "group" / f"{GROUP}.yaml").read_text())
    assert written["task"] == [
        {
            "task": "hellaswag",
            "dataset_path": str(tmp_path.resolve() / "Rowan" / "hellaswag"),
            "training_split": None,
        }
    ]


def test_every_work_names_tasks_of_lm_eval() -> None:
    from llmeval.tasks.lmeval.index import load_index

    index = load_index()
    for work in WORKS.values():
        assert all(task in index for task in work.resolve_tasks(["anatomy"])), work.name
