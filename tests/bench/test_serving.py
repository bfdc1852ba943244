"""The bench of served models: its table, its verdict, and a small run of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.serving.__main__ import main
from bench.serving.contenders import find_inspect, find_lm_eval
from bench.serving.measure import CallFailed, judge, run_process, summarize, weigh
from bench.serving.questions import write_questions, write_tokenizer
from bench.serving.table import render
from tests.support.mock_openai.language import encode, pieces


def _call(**changed: Any) -> dict[str, Any]:
    return {
        "n": 1000, "accuracy": 0.25, "wall": 2.0, "cpu": 1.0, "peak_mb": 150.0,
        "own_seconds": 0.8, "server_seconds": 1.0, "requests": 1000, "tokenized": 0,
        "in_flight": 64,
        "busy": 0.3, "bytes": 270_000, "load": 0.5, "startup": 0.7, "startup_cpu": 0.6,
        "cpu_sample": 0.0004, **changed,
    }  # fmt: skip


def _row(part: str = "generate", name: str = "llmeval", **changed: Any) -> dict[str, Any]:
    row = {
        "part": part, "name": name, "label": name, "connections": 64, "questions": 1000,
        "expected": 0.25, **summarize([_call()]), **changed,
    }  # fmt: skip
    return {**row, "agree": judge(row)}


def _render(*rows: dict[str, Any], **more: Any) -> str:
    machine = {
        "date": "2026-01-01", "cpu": "a processor", "cores": 2, "memory_gb": 4,
        "versions": {"Python": "3.11"}, "loop": "uvloop", "latency": 0.05,
        "repeat": 1,
    }  # fmt: skip
    return render({"machine": machine, "rows": list(rows), **more})


def test_table() -> None:
    text = _render(_row(), _row(name="inspect", own_seconds=None), _row("choice"), _row("sweep"))
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    assert ["llmeval", "1,250", "1,000 (1,000-1,000)", "500", "0.40"] in [x[:5] for x in lines]
    assert ["inspect", "-"] in [x[:2] for x in lines]
    assert len({len(x) for x in lines if x and x[0] in ("harness", "inspect")}) == 2  # two tables
    assert "50 ms an answer" in text
    assert "1,000 questions, 64 connections (load 0.5 to 0.5):" in text


def test_goals_are_judged_at_64_connections_only() -> None:
    assert "1,250 of 1,100 samples/s (reached), 0.40 of 0.70 ms" in _render(_row())
    slow = _row(own_seconds=1.0, cpu_sample=0.0008)
    assert "1,000 of 1,100 samples/s (NOT reached), 0.80 of 0.70 ms of CPU a sample (NOT" in (
        _render(slow)
    )
    assert "goals" not in _render(_row(connections=32))


def test_who_failed_or_was_skipped_is_in_the_table() -> None:
    failed = {**_row(name="lm-eval-chat", **summarize([])), "agree": "NO: failed"}
    for figure in _call():
        failed.pop(figure)
    assert "| lm-eval-chat | - | - |" in _render(failed)
    skipped = {"inspect": "no --inspect-python"}
    assert "inspect: skipped, no --inspect-python." in _render(_row(), skipped=skipped)
    assert "skipped" not in _render(_row(name="inspect"), skipped=skipped)


def test_verdict() -> None:
    assert _row()["agree"] == "yes"
    assert _row(accuracy=0.251)["agree"].startswith("NO: accuracy")
    assert _row(n=999)["agree"] == "NO: 999 questions of 1000 answered"
    assert _row(**summarize([_call(), _call(n=998), _call()]))["agree"].startswith("NO")


def test_medians() -> None:
    found = summarize([_call(wall=wall, own_seconds=None) for wall in (3.0, 1.0, 2.0)])
    assert (found["wall"], found["walls"], found["own_seconds"]) == (2.0, [3.0, 1.0, 2.0], None)


def test_process_is_weighed_with_its_children(tmp_path: Path) -> None:
    burn = "import time\nwhile time.process_time() < .2: pass"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}])"
    took = run_process([sys.executable, "-c", code], tmp_path, {})
    assert took["cpu"] >= 0.2
    with pytest.raises(CallFailed, match="exit 3"):
        run_process([sys.executable, "-c", "raise SystemExit(3)"], tmp_path, {})
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(b"123")
    assert weigh([tmp_path / "a", tmp_path / "none"]) == 3


def test_harnesses_that_are_not_there(tmp_path: Path) -> None:
    assert find_inspect(None) == "no --inspect-python"
    assert "is not there" in str(find_lm_eval(tmp_path / "python"))


def test_tokenizer_of_lm_eval_is_the_mocks(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    write_questions(tmp_path / "four.jsonl", 5)
    write_tokenizer(tmp_path, tmp_path / "four.jsonl")
    read = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for line in (tmp_path / "four.jsonl").read_text().splitlines():
        text = json.loads(line)["question"] + "\nAnswer with one letter. A"
        assert read.encode(text).ids == [encode(piece) for piece in pieces(text)]


@pytest.mark.slow
def test_llmeval_and_the_bare_loop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "figures.json"
    small = ["--questions", "20", "--choice-questions", "4", "--latency", "5"]
    code = main(
        ["--only", "llmeval,bare", "--parts", "generate,choice", *small, "--json", str(file)]
    )
    shown = capsys.readouterr()
    assert code == 0, shown.err
    rows = {(row["part"], row["name"]): row for row in json.loads(file.read_text())["rows"]}
    assert len(rows) == 5
    for (part, _), row in rows.items():
        assert row["agree"] == "yes"
        assert row["requests"] >= (20 if part == "generate" else 16)
        assert row["bytes"] > 0
        assert row["server_seconds"] > 0
    assert main(["--render", str(file)]) == 0
    assert capsys.readouterr().out == shown.out
