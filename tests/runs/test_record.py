"""Both tables hold what happened, in the order of the samples, and appear whole or not at all."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from llmeval.core import (
    Failure,
    GenerateRequest,
    Generation,
    Loglikelihood,
    LoglikelihoodRequest,
    Message,
    Request,
    Response,
    RollingRequest,
    Sample,
    Sampling,
    Score,
    StorageError,
    UsageError,
)
from llmeval.runs import RecordWriter, Run, load_run
from llmeval.runs.files import storage_errors, write_json
from llmeval.runs.record import Row

CHOICE = Sample(
    "7",
    {"question": "2+2?", "choices": ["3", "4"]},
    target="4",
    metadata={"subject": "sums"},
    cluster="page 1",
    payload=object(),
)
ASKED: list[tuple[Request, Response]] = [
    (LoglikelihoodRequest("2+2=", " 3"), Loglikelihood(-2.5, False, 1, 5)),
    (LoglikelihoodRequest("2+2=", " 4"), Loglikelihood(-0.5, True, 1, 5)),
]


def write(folder: Path, *rows: Any) -> Run:
    writer = RecordWriter(folder)
    writer.write(rows)
    writer.close()
    write_json(folder / "manifest.json", {"run_id": "r", "status": "complete"})
    return load_run(folder)


def exchanges(run: Run, row: int = 0) -> Any:
    return json.loads(run.samples["exchanges"][row].as_py())


def test_the_columns_are_those_of_the_documentation(tmp_path: Path) -> None:
    run = write(tmp_path, ("sums", CHOICE, ASKED, [Score("acc", 1.0)]))
    text = {name: pa.string() for name in run.samples.column_names}
    assert dict(zip(run.samples.column_names, run.samples.schema.types, strict=True)) == text
    assert run.samples.column_names == [
        *("task", "sample_id", "prompt", "exchanges", "target", "fields", "metadata", "cluster"),
        *("content", "asked"),
    ]
    assert run.scores.column_names == [
        *("task", "sample_id", "metric", "value", "status", "reason", "extracted", "item"),
        *("cluster", "content", "asked"),
    ]
    assert run.scores.schema.field("value").type == pa.float64()
    page = (Path(__file__).parents[2] / "docs" / "run-record.md").read_text()
    for name in {*run.samples.column_names, *run.scores.column_names}:
        assert f"| `{name}` |" in page


def test_a_sample_is_written_with_everything_but_its_payload(tmp_path: Path) -> None:
    run = write(tmp_path, ("sums", CHOICE, ASKED, [Score("acc", 1.0)]))
    (row,) = run.samples.to_pylist()
    assert (row["task"], row["sample_id"], row["prompt"]) == ("sums", "7", "2+2=")
    assert (row["target"], row["cluster"]) == ("4", "page 1")
    assert json.loads(row["fields"]) == {"question": "2+2?", "choices": ["3", "4"]}
    assert json.loads(row["metadata"]) == {"subject": "sums"}
    assert exchanges(run) == [
        {
            "request": {"kind": "loglikelihood", "rest": [ending]},
            "response": {
                "kind": "loglikelihood",
                "logprob": logprob,
                "is_greedy": greedy,
                "num_tokens": 1,
                "prompt_tokens": 5,
                "truncated": 0,
            },
        }
        for ending, logprob, greedy in ((" 3", -2.5, False), (" 4", -0.5, True))
    ]


def test_scores_are_a_long_table(tmp_path: Path) -> None:
    verdicts = [
        Score("acc", 1.0, extracted="B"),
        Score("f1", item=["a", "b"]),
        Score("bleu", None, "unscored", "no answer"),
        Score("em", None, "errored", "broken"),
    ]
    run = write(tmp_path, ("sums", CHOICE, [], verdicts))
    kept = ("metric", "value", "status", "reason", "extracted", "item")
    assert [tuple(row[k] for k in kept) for row in run.scores.to_pylist()] == [
        ("acc", 1.0, "scored", None, "B", None),
        ("f1", None, "scored", None, None, '["a","b"]'),
        ("bleu", None, "unscored", "no answer", None, None),
        ("em", None, "errored", "broken", None, None),
    ]
    assert set(run.scores["cluster"].to_pylist()) == {"page 1"}


def test_a_prompt_that_differs_from_the_rows_stands_with_its_exchange(tmp_path: Path) -> None:
    sampling = Sampling(max_tokens=5)
    steps: list[tuple[Request, Response]] = [
        (GenerateRequest("first", sampling), Generation("one")),
        (GenerateRequest("then one", sampling), Failure("no")),
        (RollingRequest("first"), Loglikelihood(-1.0, False, 3)),
    ]
    run = write(tmp_path, ("t", CHOICE, steps, []))
    assert run.samples["prompt"].to_pylist() == ["first"]
    assert [e["request"] for e in exchanges(run)] == [
        {"kind": "generate", "rest": [{"max_tokens": 5}, 0]},
        {"kind": "generate", "prompt": "then one", "rest": [{"max_tokens": 5}, 0]},
        {"kind": "rolling"},
    ]
    assert [e["response"]["kind"] for e in exchanges(run)] == [
        *("generation", "failure", "loglikelihood")
    ]


def test_a_chat_is_written_as_json(tmp_path: Path) -> None:
    chat = GenerateRequest((Message("system", "Be brief."), Message("user", "Hi")))
    run = write(tmp_path, ("t", CHOICE, [(chat, Generation("Hello"))], []))
    prompt = run.samples["prompt"][0].as_py()
    assert json.loads(prompt) == [["system", "Be brief."], ["user", "Hi"]]


def test_hostile_texts_are_stored(tmp_path: Path) -> None:
    """Lone surrogates, nulls and right-to-left marks: in every text column."""
    bad = "x\ud800\0\u202e"
    sample = Sample(bad, {bad: bad}, target=bad, metadata={"k": bad}, cluster=bad)
    asked = [(GenerateRequest(bad), Generation(bad))]
    run = write(tmp_path, ("t", sample, asked, [Score("acc", None, "unscored", bad, bad, [bad])]))
    assert run.samples["sample_id"].to_pylist() == ["x?\0\u202e"]
    assert run.scores["reason"].to_pylist() == ["x?\0\u202e"]


def test_rows_keep_their_order_over_row_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow.parquet as pq

    monkeypatch.setattr("llmeval.runs.record._ROW_GROUP", 4)
    writer = RecordWriter(tmp_path)
    for start in (0, 3, 6):
        samples = [Sample(str(i), {}) for i in range(start, start + 3)]
        writer.write([("t", sample, [], [Score("acc", 0.0)]) for sample in samples])
    writer.close()
    table = pq.ParquetFile(tmp_path / "samples.parquet")
    assert table.num_row_groups == 2
    assert table.read()["sample_id"].to_pylist() == list("012345678")


def test_a_run_without_samples_has_empty_tables(tmp_path: Path) -> None:
    run = write(tmp_path)
    assert (run.samples.num_rows, run.scores.num_rows) == (0, 0)


def test_nothing_stands_under_its_name_before_it_is_whole(tmp_path: Path) -> None:
    writer = RecordWriter(tmp_path)
    writer.write([("t", CHOICE, ASKED, [Score("acc", 1.0)])])
    assert not list(tmp_path.glob("*.parquet"))
    writer.close()
    assert {p.name for p in tmp_path.iterdir()} == {"samples.parquet", "scores.parquet"}


def test_a_second_attempt_replaces_what_the_first_left(tmp_path: Path) -> None:
    first = RecordWriter(tmp_path)
    first.write([("t", CHOICE, ASKED, [])])
    (tmp_path / "samples.parquet.partial").write_bytes(b"cut off")
    run = write(tmp_path, ("t", CHOICE, ASKED, []), ("t", CHOICE, ASKED, []))
    assert run.samples.num_rows == 2


# -- faults --------------------------------------------------------------------------------------


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "results").touch()
    for folder in (tmp_path / "results", tmp_path / "results" / "run"):
        with pytest.raises(StorageError) as error:
            RecordWriter(folder)
        assert "a file stands where a folder is needed" in str(error.value)
        assert "\n" not in str(error.value)


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    """``/dev/full`` is a disk without room."""
    (tmp_path / "samples.parquet.partial").symlink_to("/dev/full")
    samples = [Sample(str(i), {"text": f"{i * 7919} " * 20}) for i in range(5000)]
    rows: list[Row] = [("t", sample, ASKED, []) for sample in samples]
    with pytest.raises(StorageError) as error:
        writer = RecordWriter(tmp_path)
        for _ in range(50):
            writer.write(rows)
        writer.close()
    assert "No space left on device" in str(error.value)
    assert "free some disk space" in str(error.value)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []  # a full disk needs the room


@pytest.mark.parametrize(
    ("code", "mend"),
    [
        (errno.ENOSPC, "free some disk space"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "--out"),
        (errno.EACCES, "--out"),
        (errno.ENOTDIR, "--out"),
    ],
)
def test_what_the_disk_refuses_names_its_mend(code: int, mend: str) -> None:
    with pytest.raises(StorageError, match=mend) as error, storage_errors(Path("here")):
        raise OSError(code, "refused")
    assert str(error.value).startswith("here: the record cannot be written: refused (")


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.ENOTDIR])
def test_what_lies_in_the_workspace_is_moved_with_it(code: int) -> None:
    path = Path("here/.llmeval/locks/a.lock")
    with pytest.raises(StorageError, match="LLMEVAL_HOME=DIR") as error, storage_errors(path):
        raise OSError(code, "refused")
    assert "--out" not in str(error.value)
    assert "the record" not in str(error.value)


# -- JSON ----------------------------------------------------------------------------------------


def test_json_is_strict_and_atomic(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    value: dict[Any, Any] = {"nan": float("nan"), "inf": [float("inf")], "who": "Größe"}
    value[1] = Path("x")
    write_json(path, value)
    text = path.read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=pytest.fail) == {
        "nan": None,
        "inf": [None],
        "who": "Größe",
        "1": "x",
    }
    assert [p.name for p in tmp_path.iterdir()] == ["summary.json"]


def test_a_json_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    write_json(path, {"status": "old"})
    (tmp_path / "summary.json.partial").symlink_to("/dev/full")
    with pytest.raises(StorageError, match="No space left"):
        write_json(path, {"status": "new"})
    assert json.loads(path.read_text()) == {"status": "old"}


def test_a_hostile_reason_does_not_make_the_summary_unreadable(tmp_path: Path) -> None:
    write_json(tmp_path / "manifest.json", {"reason": "half a pair: \ud800"})
    assert load_run(tmp_path).manifest == {"reason": "half a pair: ?"}


# -- reading -------------------------------------------------------------------------------------


def test_no_record_is_one_line(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UsageError, match=r"no run record here \(name a folder"):
            load_run(folder)


def test_a_complete_record_that_lost_a_table_was_not_killed(tmp_path: Path) -> None:
    run = write(tmp_path, ("t", CHOICE, ASKED, [Score("acc", 1.0)]))
    (tmp_path / "scores.parquet").unlink()
    with pytest.raises(UsageError, match=r"has no scores\.parquet") as error:
        _ = run.scores
    assert "lost later: copy it back" in str(error.value)
    assert "killed" not in str(error.value)


def test_a_record_without_its_tables_says_that_the_run_was_killed(tmp_path: Path) -> None:
    write_json(tmp_path / "manifest.json", {"run_id": "r", "status": "interrupted"})
    run = load_run(tmp_path)
    assert (run.id, run.status) == ("r", "interrupted")
    for part in ("summary", "samples", "scores"):
        with pytest.raises(UsageError, match="the run was killed"):
            getattr(run, part)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe"])
def test_a_damaged_record_is_one_line(tmp_path: Path, content: bytes) -> None:
    for name in ("manifest.json", "summary.json", "samples.parquet"):
        (tmp_path / name).write_bytes(content)
    run = load_run(tmp_path)
    for part in ("manifest", "summary", "samples"):
        with pytest.raises(UsageError) as error:
            getattr(run, part)
        assert str(tmp_path) in str(error.value)
        assert "\n" not in str(error.value)


def test_tables_become_pandas(tmp_path: Path) -> None:
    run = write(tmp_path, ("sums", CHOICE, ASKED, [Score("acc", 1.0)]))
    frame = run.scores.to_pandas()
    assert frame.groupby("metric")["value"].mean().to_dict() == {"acc": 1.0}
