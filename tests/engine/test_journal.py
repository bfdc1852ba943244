"""The journal keeps every answer once, whoever writes it, and says plainly what is wrong."""

from __future__ import annotations

import math
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmeval.core import (
    GenerateRequest,
    Generation,
    Loglikelihood,
    LoglikelihoodRequest,
    Response,
    StorageError,
)
from llmeval.engine import Journal
from llmeval.engine.journal import SCHEMA_VERSION, Entry, Keyring, TokenCounts
from tests.core.test_responses import responses

RING = Keyring("fp")


def key(text: str) -> bytes:
    return RING.key(LoglikelihoodRequest(text, ""))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".llmeval" / "journal.sqlite"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    with Journal(path) as journal:
        yield journal


@pytest.fixture(scope="module")
def shared_journal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journal]:
    with Journal(tmp_path_factory.mktemp("journal") / "journal.sqlite") as journal:
        yield journal


@given(answers=st.lists(responses, min_size=1, max_size=5))
def test_answers_come_back_as_they_went(shared_journal: Journal, answers: list[Response]) -> None:
    salt = shared_journal.count()  # new questions every time: an answer is never replaced
    run = shared_journal.begin("spec", f"run {salt}")
    given_answers = {key(f"{salt} {i}"): answer for i, answer in enumerate(answers)}
    assert shared_journal.commit(run, given_answers, 0) == given_answers
    found = shared_journal.lookup(list(given_answers))
    assert found == {k: Entry(answer, run.id) for k, answer in given_answers.items()}


def test_a_probability_of_zero_and_a_broken_text_survive(journal: Journal) -> None:
    run = journal.begin("spec", "run")
    impossible = Loglikelihood(-math.inf, False, 1)
    broken = Generation("half a pair: \ud800, a null: \0")
    journal.commit(run, {key("a"): impossible, key("b"): broken}, 0)
    found = journal.lookup([key("a"), key("b")])
    assert found[key("a")].response == impossible
    assert found[key("b")].response == broken


def test_nan_comes_back_as_nan(journal: Journal) -> None:
    journal.commit(journal.begin("spec", "run"), {key("a"): Loglikelihood(math.nan, False, 1)}, 0)
    response = journal.lookup([key("a")])[key("a")].response
    assert isinstance(response, Loglikelihood)
    assert math.isnan(response.logprob)


def test_lookup_takes_more_keys_than_sqlite_takes_variables(journal: Journal) -> None:
    answers = {key(str(i)): Loglikelihood(-float(i), True, 1) for i in range(2500)}
    journal.commit(journal.begin("spec", "run"), answers, 0)
    found = journal.lookup([*answers, key("never asked")])
    assert {k: entry.response for k, entry in found.items()} == answers
    assert journal.count() == 2500


def test_the_first_answer_stays_and_the_second_run_reads_it(path: Path) -> None:
    first, second = Generation("first"), Generation("second")
    with Journal(path) as one, Journal(path) as two:
        run, other = one.begin("spec", "run"), two.begin("spec", "other")
        one.commit(run, {key("a"): first}, 1)
        assert two.commit(other, {key("a"): second, key("b"): second}, 1) == {
            key("a"): first,
            key("b"): second,
        }
        assert one.lookup([key("a"), key("b")]) == {
            key("a"): Entry(first, run.id),
            key("b"): Entry(second, other.id),
        }


def test_answers_outlive_the_process(path: Path) -> None:
    with Journal(path) as journal:
        run = journal.begin("spec", "run")
        journal.commit(run, {key("a"): Generation("x")}, 5, 4)
        journal.commit(run, {key("b"): Generation("y")}, 6, 3)
    with Journal(path) as journal:
        assert journal.unfinished("spec") == [run]
        assert journal.tokens(run) == TokenCounts(computed=11, distinct=7)
        assert journal.lookup([key("b")])[key("b")].response == Generation("y")


def test_only_unfinished_runs_of_the_specification_are_offered_newest_first(
    journal: Journal,
) -> None:
    runs = [journal.begin("spec", f"run {i}") for i in range(3)]
    journal.begin("another spec", "run 3")
    journal.finish(runs[1])
    assert journal.unfinished("spec") == [runs[2], runs[0]]
    assert journal.unfinished("no such spec") == []


_WRITER = """
import sys
from pathlib import Path
from llmeval.core import Generation
from llmeval.engine import Journal
path, name = Path(sys.argv[1]), sys.argv[2]
sys.stdin.readline()  # start together
with Journal(path) as journal:
    run = journal.begin("spec", name)
    for start in range(0, 400, 10):
        answers = {i.to_bytes(16, "big"): Generation(name) for i in range(start, start + 10)}
        for key, response in journal.commit(run, answers, 1).items():
            print(int.from_bytes(key, "big"), response.text)
"""


def test_four_processes_at_once_agree_on_every_answer(path: Path) -> None:
    """They also create the file at once."""
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(path), f"writer {i}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for i in range(4)
    ]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("\n")
        writer.stdin.flush()
    views = [set(writer.communicate(timeout=60)[0].splitlines()) for writer in writers]
    assert [writer.returncode for writer in writers] == [0] * 4
    assert len(views[0]) == 400
    assert views[0] == views[1] == views[2] == views[3]
    with Journal(path) as journal:
        assert journal.count() == 400


# -- faults --------------------------------------------------------------------------------------


def assert_one_line(error: pytest.ExceptionInfo[StorageError], *signs: str) -> None:
    line = str(error.value)
    assert error.value.exit_code == 2
    assert "\n" not in line
    for sign in signs:
        assert sign in line


def test_a_journal_from_a_newer_version_is_left_alone(path: Path) -> None:
    with Journal(path) as journal:
        journal.commit(journal.begin("spec", "run"), {key("a"): Generation("x")}, 0)
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    db.close()
    with pytest.raises(StorageError) as error:
        Journal(path)
    assert_one_line(error, str(path), f"schema {SCHEMA_VERSION + 1}", "newer llmeval")
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT count(*) FROM answers").fetchone() == (1,)
        assert db.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION + 1,)
    db.close()


_FIRST_SCHEMA = """
CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL UNIQUE,
    spec TEXT NOT NULL,
    started REAL NOT NULL,
    finished REAL,
    computed_tokens INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX unfinished ON runs (spec) WHERE finished IS NULL;
CREATE TABLE answers (
    key BLOB PRIMARY KEY,
    run INTEGER NOT NULL REFERENCES runs (id),
    response BLOB NOT NULL
) WITHOUT ROWID;
INSERT INTO runs VALUES (1, 'old run', 'spec', 1.5, NULL, 40);
PRAGMA user_version=1;
"""


def test_a_journal_of_the_first_version_goes_on(path: Path) -> None:
    """Its file keeps runs and answers, and an unfinished run counts on."""
    answer = b'{"kind":"generation","text":"old","finish_reason":"stop"}'
    path.parent.mkdir()
    with sqlite3.connect(path) as db:
        db.executescript(_FIRST_SCHEMA)
        db.execute("INSERT INTO answers VALUES (?, 1, ?)", (key("a"), answer))
    db.close()
    for distinct in (2, 4):  # the second time there is nothing left to migrate
        with Journal(path) as journal:
            (run,) = journal.unfinished("spec")
            assert journal.lookup([key("a")]) == {key("a"): Entry(Generation("old"), 1)}
            journal.commit(run, {key("b"): Generation("new")}, 1, 2)
            assert journal.tokens(run) == TokenCounts(40 + distinct // 2, distinct)


def test_a_file_that_is_no_journal(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is a text and was never a database" * 100)
    with pytest.raises(StorageError) as error:
        Journal(path)
    assert_one_line(error, str(path), "not a database", "move the file away")
    assert path.read_bytes().startswith(b"this is a text")


def test_a_journal_with_damaged_pages(path: Path) -> None:
    with Journal(path) as journal:
        answers = {key(str(i)): Generation("x" * 200) for i in range(500)}
        journal.commit(journal.begin("spec", "run"), answers, 0)
    content = bytearray(path.read_bytes())
    content[8192:] = b"\xa5" * (len(content) - 8192)
    path.write_bytes(content)
    with pytest.raises(StorageError) as error, Journal(path) as journal:
        journal.lookup(list(answers))
    assert_one_line(error, str(path), "malformed", "move the file away")


def test_an_answer_that_cannot_be_read(path: Path) -> None:
    with Journal(path) as journal:
        journal.commit(journal.begin("spec", "run"), {key("a"): Generation("x")}, 0)
    for damage in (b"{", b'{"kind": "telepathy"}', b'{"kind": "generation", "colour": 1}', b"\xff"):
        with sqlite3.connect(path) as db:
            db.execute("UPDATE answers SET response = ?", (damage,))
        db.close()
        with pytest.raises(StorageError) as error, Journal(path) as journal:
            journal.lookup([key("a")])
        assert_one_line(error, str(path), "cannot be read", "move the file away")


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """Below a file, since tests may run as root, who may write anywhere."""
    (tmp_path / "file").touch()
    for parts in (("file", ".llmeval"), ("file",)):
        with pytest.raises(StorageError) as error:
            Journal(tmp_path.joinpath(*parts, "journal.sqlite"))
        assert_one_line(error, str(tmp_path), "LLMEVAL_HOME")


def test_a_journal_that_cannot_be_written(path: Path) -> None:
    """``query_only`` refuses as a read-only file system does, also for root."""
    with Journal(path) as journal:
        journal._db.execute("PRAGMA query_only=1")
        with pytest.raises(StorageError) as error:
            journal.begin("spec", "run")
    assert_one_line(error, str(path), "readonly", "make the folder writable")


def test_a_full_disk_keeps_what_was_committed_and_goes_on_later(path: Path) -> None:
    """SQLite's own page limit gives the error of a full disk."""
    answers = {key(f"before {i}"): Generation("x") for i in range(10)}
    bulky = {key(f"after {i}"): Generation("y" * 5000) for i in range(100)}
    with Journal(path) as journal:
        run = journal.begin("spec", "run")
        journal.commit(run, answers, 3)
        pages = journal._db.execute("PRAGMA page_count").fetchone()[0]
        journal._db.execute(f"PRAGMA max_page_count={pages + 2}")
        with pytest.raises(StorageError) as error:
            journal.commit(run, bulky, 4)
        assert_one_line(error, str(path), "full", "free some disk space")
        assert set(journal.lookup([*answers, *bulky])) == set(answers)
        assert journal.tokens(run).computed == 3
        journal._db.execute(f"PRAGMA max_page_count={2**30}")
        journal.commit(run, bulky, 4)  # the same journal goes on once there is room
    with Journal(path) as journal:
        assert journal.unfinished("spec") == [run]
        assert set(journal.lookup([*answers, *bulky])) == {*answers, *bulky}


def test_a_file_size_limit_stops_cleanly(path: Path) -> None:
    """The kernel refuses to write on, in the middle of a transaction."""
    script = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from llmeval.core import Generation, StorageError\n"
        "from llmeval.engine import Journal\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
        "with Journal(Path(sys.argv[1])) as journal:\n"
        "    run = journal.begin('spec', 'run')\n"
        "    for i in range(1000):\n"
        "        try:\n"
        "            journal.commit(run, {i.to_bytes(16, 'big'): Generation('x' * 2000)}, 1)\n"
        "        except StorageError as error:\n"
        "            print(i, str(error).count('\\n'))\n"
        "            break\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    )
    kept, newlines = map(int, done.stdout.split())
    assert 0 < kept < 1000
    assert newlines == 0
    with Journal(path) as journal:
        found = journal.lookup([i.to_bytes(16, "big") for i in range(1000)])
        assert len(found) == kept
        assert all(entry.response == Generation("x" * 2000) for entry in found.values())


def test_how_texts_become_tokens_is_in_the_keys_of_log_probabilities_alone() -> None:
    scored, asked = LoglikelihoodRequest("a", " b"), GenerateRequest("a")
    plain, other = Keyring("model"), Keyring("model", "model, tokens by the server")
    assert plain.key(asked) == other.key(asked)
    assert plain.key(scored) != other.key(scored)
