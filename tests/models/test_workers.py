"""Several processes answer as one does, whoever of them dies, and none outlives its run."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from llmeval.core import (
    GenerateRequest,
    Interrupted,
    InvalidResult,
    LoglikelihoodRequest,
    Request,
    RollingRequest,
    Sampling,
    UsageError,
)
from llmeval.models import ModelSettings
from llmeval.models.hf.workers import Crew, assign
from tests.support.computers import Doer, start_doer, start_nothing

SECONDS = 60.0  # to wait for what should take a moment
PROGRAM = "import sys; from tests.support.computers import keep_busy; keep_busy(sys.argv[1])"


def lives(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.02)


@pytest.fixture
def crews() -> Iterator[Callable[..., Crew[Doer]]]:
    made: list[Crew[Doer]] = []

    def make(others: int = 1, start: Callable[[], Doer] = start_doer) -> Crew[Doer]:
        made.append(Crew(start_doer, [start] * others))
        return made[-1]

    yield make
    for crew in made:
        crew.close()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as threads:
        yield threads


def hold(crew: Crew[Doer], pool: ThreadPoolExecutor, path: Path) -> Any:
    """Keep one member busy, and wait for all others to be ready; returns its future."""
    future = pool.submit(crew.compute, ("wait_for", str(path)))
    wait_until(lambda: len(crew._free) == crew.concurrency - 1)
    return future


def test_a_crew_of_one_is_this_process(crews: Any) -> None:
    crew = crews(others=0)
    assert crew.concurrency == 1
    assert crew.compute(("say", "")) == os.getpid()


def test_work_goes_to_whichever_is_free(crews: Any, pool: Any, tmp_path: Path) -> None:
    crew = crews(others=2)
    assert crew.concurrency == 3
    wait_until(lambda: len(crew._free) == 3)
    path = tmp_path / "go"
    futures = [pool.submit(crew.compute, ("wait_for", str(path))) for _ in range(3)]
    wait_until(lambda: not crew._free)
    path.touch()
    assert {future.result(SECONDS) for future in futures} == {os.getpid(), *crew.pids}


def test_the_work_of_a_killed_worker_is_done_by_another(
    crews: Any, pool: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    crew = crews()
    wait_until(lambda: len(crew._free) == 2)
    path = tmp_path / "go"
    futures = [pool.submit(crew.compute, ("wait_for", str(path))) for _ in range(2)]
    wait_until(lambda: not crew._free)
    os.kill(crew.pids[0], signal.SIGKILL)
    wait_until(lambda: crew.concurrency == 1)  # noticed while the work goes on
    path.touch()
    assert [future.result(SECONDS) for future in futures] == [os.getpid()] * 2
    [text] = caplog.messages
    assert f"worker 2 (process {crew.pids[0]}) was killed" in text and "1 of 2" in text


def test_work_is_not_blamed_for_workers_that_died_before_it(crews: Any) -> None:
    crew = crews(others=2)
    wait_until(lambda: len(crew._free) == 3)
    for pid in crew.pids:
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda pid=pid: not lives(pid))
    for _ in range(3):
        assert crew.compute(("say", "")) == os.getpid()
    assert crew.concurrency == 1


def test_work_that_ends_two_workers_ends_the_run(crews: Any, pool: Any, tmp_path: Path) -> None:
    crew = crews(others=3)
    own = hold(crew, pool, tmp_path / "go")
    assert len(crew._free) == 3
    with pytest.raises(InvalidResult, match=r"ended 2 processes.*fewer workers"):
        crew.compute(("die_elsewhere", os.getpid()))
    assert crew.concurrency == 2
    (tmp_path / "go").touch()
    assert own.result(SECONDS) == os.getpid()


def test_an_error_is_the_same_from_any_process(crews: Any, pool: Any, tmp_path: Path) -> None:
    import torch

    crew = crews()
    own = hold(crew, pool, tmp_path / "go")
    with pytest.raises(UsageError) as usage:
        crew.compute(("fail", "usage"))
    assert str(usage.value) == "where: what (mend)"
    assert any("computers.py" in note for note in usage.value.__notes__)
    with pytest.raises(torch.OutOfMemoryError, match="CUDA out of memory"):
        crew.compute(("fail", "memory"))
    with pytest.raises(RuntimeError, match="Odd: a b"):
        crew.compute(("fail", "odd"))
    assert crew.compute(("say", "")) == crew.pids[0]
    (tmp_path / "go").touch()
    own.result(SECONDS)


def test_warnings_come_back_once_and_prints_do_not_reach_stdout(
    crews: Any,
    pool: Any,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    crew = crews()
    own = hold(crew, pool, tmp_path / "go")
    for _ in range(2):
        crew.compute(("say", "something was left out"))
    assert caplog.record_tuples == [("elsewhere", logging.WARNING, "something was left out")]
    assert capfd.readouterr().out == ""
    (tmp_path / "go").touch()
    own.result(SECONDS)


def test_a_worker_that_cannot_load_is_warned_of(
    crews: Any, caplog: pytest.LogCaptureFixture
) -> None:
    crew = crews(start=start_nothing)
    wait_until(lambda: crew.concurrency == 1)
    assert crew.compute(("say", "")) == os.getpid()
    assert "worker 2 could not load the model: no memory for it" in caplog.text


def test_what_fails_here_leaves_no_worker() -> None:
    before = set(psutil.Process().children())
    with pytest.raises(UsageError, match="no memory"):
        Crew(start_nothing, [start_doer])
    assert set(psutil.Process().children()) == before


def test_closing_ends_busy_workers_and_tells_who_waits(
    crews: Any, pool: Any, tmp_path: Path
) -> None:
    crew = crews()
    own = hold(crew, pool, tmp_path / "go")
    far = pool.submit(crew.compute, ("wait_for", str(tmp_path / "never")))
    wait_until(lambda: not crew._free)
    waiting = pool.submit(crew.compute, ("say", ""))
    crew.close()
    for future in (far, waiting):
        with pytest.raises(Interrupted):
            future.result(SECONDS)
    assert not any(map(lives, crew.pids))
    crew.close()
    (tmp_path / "go").touch()
    assert own.result(SECONDS) == os.getpid()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_worker_outlives_the_run(number: signal.Signals, tmp_path: Path) -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "busy")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with program:
        assert program.stdout is not None
        pid = int(program.stdout.readline())
        assert lives(pid)
        program.send_signal(number)
        program.wait(SECONDS)
    wait_until(lambda: not lives(pid))


def test_threads_are_divided_among_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmeval.models.hf.workers._count_cores", lambda: 7)
    one = ModelSettings(device="cpu")
    assert assign(one) == [one]
    assert [s.threads for s in assign(ModelSettings(device="cpu", workers=3))] == [2, 2, 2]
    assert [s.threads for s in assign(ModelSettings(device="cpu", workers=9))] == [1] * 9
    given = ModelSettings(device="cpu", workers=2, threads=5)
    assert [(s.workers, s.threads) for s in assign(given)] == [(1, 5)] * 2
    assert len(assign(ModelSettings(device="cpu", workers="auto"))) == 1


def test_a_cuda_device_has_one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    assert [s.device for s in assign(ModelSettings(workers="auto"))] == [
        "cuda:0",
        "cuda:1",
        "cuda:2",
    ]
    assert [s.device for s in assign(ModelSettings(workers=2))] == ["cuda:0", "cuda:1"]
    with pytest.raises(UsageError, match="there are 3 CUDA devices"):
        assign(ModelSettings(workers=4))


REQUESTS: list[Request] = [
    *(
        LoglikelihoodRequest(f"Once upon a time there was a {who} who went", f" into the {where}")
        for who in ("girl", "fox", "little girl", "time")
        for where in ("woods", "dark woods", "fox")
    ),
    RollingRequest("The fox said: come with me, and the girl went with the fox. " * 4),
    GenerateRequest("The fox said: ", Sampling(max_tokens=8)),
    GenerateRequest("Once upon", Sampling(max_tokens=8)),
]


def answer_in_threads(model: Any, threads: int) -> list[Any]:
    """Answer all requests, the batches of the plan at once in so many threads."""
    answers: list[Any] = [None] * len(REQUESTS)
    batches = model.plan(REQUESTS)
    with ThreadPoolExecutor(threads) as pool:
        for batch, done in zip(
            batches,
            pool.map(lambda batch: model.answer([REQUESTS[i] for i in batch]), batches),
            strict=True,
        ):
            for index, response in zip(batch, done.responses, strict=True):
                answers[index] = response
    return answers


@pytest.mark.slow
def test_two_processes_answer_to_the_bit_as_one(llama_dir: Path, load: Any) -> None:
    one = load(llama_dir, batch_size=1, pack_size=2)
    two = load(llama_dir, batch_size=1, pack_size=2, workers=2)
    try:
        assert (one.concurrency, two.concurrency) == (1, 2)
        assert one.fingerprint == two.fingerprint
        assert one.plan(REQUESTS) == two.plan(REQUESTS) and len(one.plan(REQUESTS)) > 2
        wait_until(lambda: len(two._crew._free) == 2)
        assert answer_in_threads(two, 2) == answer_in_threads(one, 1)
    finally:
        two.close()
