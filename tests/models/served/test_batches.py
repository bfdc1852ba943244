"""Batches against the mock server: what is handed in, when, and what comes back of it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmeval.core import (
    Failure,
    GenerateRequest,
    Generation,
    LoglikelihoodRequest,
    Message,
    Model,
    Response,
    Sampling,
    ServedModel,
    StorageError,
    UsageError,
)
from llmeval.models.served import ServedSettings, batch_service, batches
from llmeval.models.served.batch_service import BatchService, BatchState, ServiceUnreachable
from llmeval.models.served.batch_store import BatchStore, Entry
from llmeval.models.served.batches import BatchedModel
from llmeval.models.served.connect import load_served_model
from llmeval.models.served.model import OpenAIModel
from tests.support.mock_openai.launch import MockServer, serve

KEY = "sk-this-is-the-key-0123"
QUESTIONS = [GenerateRequest(f"question {i}", Sampling(max_tokens=8)) for i in range(12)]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[MockServer]:
    """A server of the test's own: a batch goes on whoever began it."""
    monkeypatch.setattr(batches, "POLL_SECONDS", (0.02, 0.05))
    monkeypatch.setattr(batch_service, "RETRY_SECONDS", 0.02)
    with serve(batch_seconds=0.05) as server:
        yield server


def make_served(server: MockServer, **settings: Any) -> OpenAIModel:
    given = {"base_url": server.url, "api": "chat", **settings}
    served = load_served_model(
        "mock-model", "openai:mock-model", ServedSettings.from_mapping(given)
    )
    served.explore({"generate"})
    return served


def make(server: MockServer, folder: Path, wait: bool = False, **settings: Any) -> BatchedModel:
    return BatchedModel(make_served(server, **settings), folder / "batches", wait)


def ask(model: BatchedModel, requests: Sequence[Any]) -> list[Response]:
    return list(model.answer(requests).responses)


def collect(model: BatchedModel, requests: Sequence[Any]) -> list[Response]:
    """Ask until nothing is pending."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        model.pending.clear()
        responses = ask(model, requests)
        if not model.pending:
            return responses
        time.sleep(0.02)
    raise AssertionError("the batch does not end")


def begun(server: MockServer) -> int:
    """How many batches the service has."""
    service = BatchService(server.url, {}, {}, str, 5.0)
    return len(list(service._client.batches.list(limit=100, extra_headers=service._extra)))


def lines_handed_in(folder: Path) -> list[str]:
    return [line for entry in BatchStore(folder / "batches").load() for line in entry.lines]


def texts(responses: Sequence[Response]) -> list[str]:
    assert all(isinstance(r, Generation) for r in responses), responses
    return [r.text for r in responses if isinstance(r, Generation)]


def failures(responses: Sequence[Response]) -> list[str]:
    return [r.reason for r in responses if isinstance(r, Failure)]


# -- what it is ----------------------------------------------------------------------------------


def test_it_is_a_batch_model_with_the_served_models_identity(
    server: MockServer, tmp_path: Path
) -> None:
    served = make_served(server, price_input=1.0, price_output=2.0)
    model = BatchedModel(served, tmp_path)
    assert isinstance(model, Model)
    assert not isinstance(model, ServedModel)
    assert model.fingerprint == served.fingerprint
    assert model.describe()["batch"] is True
    assert model.describe()["base_url"] == server.url


def test_a_batch_costs_what_the_provider_asks_for_it(
    server: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    served = make_served(server, provider="openai", price_input=1.0, price_output=2.0)
    model = BatchedModel(served, tmp_path)
    answer = Generation("x", prompt_tokens=1_000_000, completion_tokens=1_000_000)
    assert served.price(answer) == 3.0
    assert model.price(answer) == 1.5
    assert make(server, tmp_path).price(answer) is None


# -- plans ---------------------------------------------------------------------------------------


def draws(text: str, n: int) -> list[GenerateRequest]:
    return list(GenerateRequest(text, Sampling(max_tokens=8, temperature=1.0)).draws(n))


def test_plans_respect_the_bounds_and_keep_draws_together(
    server: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make(server, tmp_path)
    requests = [request for i in range(5) for request in draws(f"q{i}", 3)]
    assert model.plan(requests) == [list(range(15))]
    monkeypatch.setattr(batches, "MOST_LINES", 2)
    assert model.plan(requests) == [list(range(6)), list(range(6, 12)), list(range(12, 15))]
    monkeypatch.setattr(batches, "MOST_LINES", 50_000)
    (line, *_) = model._writer.write(requests)
    monkeypatch.setattr(batches, "MOST_BYTES", 3 * len(line.data))
    assert model.plan(requests) == [list(range(9)), list(range(9, 15))]
    assert model.plan(requests) == make(server, tmp_path).plan(requests)


def test_the_draws_of_a_question_stay_together_wherever_they_are_asked(
    server: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "MOST_LINES", 1)
    a, b = draws("a", 2), draws("b", 2)
    plan = make(server, tmp_path).plan([a[0], b[0], a[1], b[1]])
    assert plan == [[0, 2], [1, 3]]


def test_a_file_is_for_one_endpoint(server: MockServer, tmp_path: Path) -> None:
    model = make(server, tmp_path, api="auto")
    chat = GenerateRequest((Message("user", "hello"),))
    assert model.plan([QUESTIONS[0], chat, QUESTIONS[1]]) == [[0, 2], [1]]
    assert len(texts(collect(model, [QUESTIONS[0], chat, QUESTIONS[1]]))) == 3


def test_only_questions_for_a_text_go_into_a_batch(server: MockServer, tmp_path: Path) -> None:
    model = make(server, tmp_path)
    for act in (model.plan, model.answer):
        with pytest.raises(UsageError, match="no log-probabilities"):
            act([LoglikelihoodRequest("a", "b")])


# -- answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("api", ["chat", "completions", "responses"])
def test_answers_are_those_of_the_calls(server: MockServer, tmp_path: Path, api: str) -> None:
    served = make_served(server, api=api)
    requests = [*QUESTIONS[:4], *draws("drawn", 3)]
    model = BatchedModel(served, tmp_path)
    server.set(batch_seconds=60)
    first = ask(model, requests)
    server.set(batch_seconds=0.05)
    assert failures(first) == [failures(first)[0]] * 7
    assert failures(first)[0].startswith("submitted as batch_")

    async def call() -> list[Response]:
        answers: dict[int, Response] = {}
        for group in served.group(requests):
            reply = await served.call([requests[i] for i in group])
            answers |= zip(group, reply.responses, strict=True)
        await served.hang_up()
        return [answers[i] for i in range(len(requests))]

    collected = collect(model, requests)
    assert sum(model.report()["answered_by"].values()) == len(served.group(requests))
    assert collected == asyncio.run(call())


def test_refusals_are_read_as_a_call_reads_them(server: MockServer, tmp_path: Path) -> None:
    asked = [
        GenerateRequest("[[400:The content management policy forbids it]]"),
        GenerateRequest("[[context]]"),
        GenerateRequest("[[400:Such a thing is not done]]"),
    ]
    filtered, long, bad = collect(make(server, tmp_path), asked)
    assert filtered == Generation("", finish_reason="content_filter")
    assert isinstance(long, Failure) and long.reason.startswith("the server refused it: This model")
    assert bad == Failure("the server answered 400: Such a thing is not done")


def test_half_a_surrogate_pair_breaks_its_own_question_alone(
    server: MockServer, tmp_path: Path
) -> None:
    model = make(server, tmp_path)
    broken = GenerateRequest("\ud800")
    assert model.plan([broken, QUESTIONS[0]]) == [[0, 1]]
    first, second = collect(model, [broken, QUESTIONS[0]])
    assert isinstance(first, Failure) and first.reason.startswith("the question cannot be sent")
    assert isinstance(second, Generation)


# -- nothing twice -------------------------------------------------------------------------------


def test_what_is_with_the_service_is_found_however_it_is_asked(
    server: MockServer, tmp_path: Path
) -> None:
    server.set(batch_seconds=60)
    make(server, tmp_path).answer(QUESTIONS[:6])
    again = make(server, tmp_path)
    ask(again, QUESTIONS[3:6][::-1])
    assert begun(server) == 1
    ask(again, QUESTIONS)  # six more, beside those that are there
    assert begun(server) == 2
    assert len(set(lines_handed_in(tmp_path))) == len(lines_handed_in(tmp_path)) == 12
    assert sum(again.pending.values()) == 3 + 12


def test_what_was_collected_and_not_journaled_is_collected_again(
    server: MockServer, tmp_path: Path
) -> None:
    first = collect(make(server, tmp_path), QUESTIONS)
    assert collect(make(server, tmp_path), QUESTIONS) == first
    assert begun(server) == 1
    assert server.stats()["batch_requests"] == 12


def test_threads_that_ask_the_same_hand_it_in_once(server: MockServer, tmp_path: Path) -> None:
    models = [make(server, tmp_path) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda model: ask(model, QUESTIONS), models))
    assert begun(server) == 1


def test_another_model_or_server_is_another_batch(server: MockServer, tmp_path: Path) -> None:
    ask(make(server, tmp_path), QUESTIONS[:2])
    ask(make(server, tmp_path, max_gen_toks=7), QUESTIONS[:2])
    assert begun(server) == 2
    with serve(batch_seconds=0.05) as moved:
        elsewhere = make(moved, tmp_path)
        elsewhere._served._settings = elsewhere._served._settings.model_copy(
            update={"identity": server.url}
        )
        assert elsewhere.fingerprint == make(server, tmp_path).fingerprint
        assert len(texts(collect(elsewhere, QUESTIONS[:2]))) == 2


def test_a_kill_between_the_creation_and_the_note_loses_nothing(
    server: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def killed(store: BatchStore, entry: Entry) -> None:
        if entry.batch is not None:
            raise KeyboardInterrupt
        write(store, entry)

    write = BatchStore.write
    monkeypatch.setattr(BatchStore, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        make(server, tmp_path).answer(QUESTIONS)
    monkeypatch.setattr(BatchStore, "write", write)
    assert begun(server) == 1
    assert len(texts(collect(make(server, tmp_path), QUESTIONS))) == 12
    assert begun(server) == 1


def test_a_kill_before_the_creation_hands_in_again(
    server: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def killed(*_: object) -> BatchState:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(BatchService, "create", killed)
        with pytest.raises(KeyboardInterrupt):
            make(server, tmp_path).answer(QUESTIONS)
    assert len(texts(collect(make(server, tmp_path), QUESTIONS))) == 12
    assert begun(server) == 1
    assert len(lines_handed_in(tmp_path)) == 12


def test_a_creation_whose_answer_is_lost_is_not_repeated(
    server: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, lost = BatchService._create_once, list[str]()

    def lose(service: BatchService, file: str, endpoint: str, digest: str) -> BatchState:
        state = create(service, file, endpoint, digest)
        lost.append(state.ident)
        raise ServiceUnreachable("no connection: reset")

    monkeypatch.setattr(BatchService, "_create_once", lose)
    model = make(server, tmp_path)
    assert len(texts(collect(model, QUESTIONS))) == 12
    assert begun(server) == 1
    assert model.report()["batches"] == lost


@pytest.mark.slow
def test_faults_on_the_way_neither_lose_nor_repeat_anything(
    server: MockServer, tmp_path: Path
) -> None:
    faults = ("429-ms", "500", "503", "reset", "half")
    server.set(fault_everywhere=True, fault_rate=0.4, faults=faults, seed=3)
    responses = collect(make(server, tmp_path, api="chat"), QUESTIONS)
    assert server.stats()["by_fault"]
    server.set(fault_everywhere=False, fault_rate=0.0)
    assert len(texts(responses)) == 12
    assert begun(server) == 1


# -- how batches end -----------------------------------------------------------------------------


def test_lines_that_failed_are_left_for_the_next_command(
    server: MockServer, tmp_path: Path
) -> None:
    server.set(batch_error_share=0.5)
    first = make(server, tmp_path)
    left = collect(first, QUESTIONS)
    lost = [q for q, r in zip(QUESTIONS, left, strict=True) if isinstance(r, Failure)]
    assert 0 < len(lost) < 12
    said = set(failures(left))
    assert said <= {
        "the server answered 500: The server had an error processing your request.",
        "This request could not be executed before the completion window expired.",
    }
    assert failures(ask(first, QUESTIONS)) == failures(left)  # this command asks them no more
    assert begun(server) == 1
    server.set(batch_error_share=0.0)
    assert len(texts(collect(make(server, tmp_path), lost))) == len(lost)
    assert begun(server) == 2
    assert server.stats()["batch_requests"] == 12 + len(lost)
    assert server.stats()["answered_twice"] == 0


def test_an_expired_batch_keeps_what_it_answered(server: MockServer, tmp_path: Path) -> None:
    server.set(batch_outcome="expired")
    responses = collect(make(server, tmp_path), QUESTIONS)
    assert len(failures(responses)) == 6
    assert set(failures(responses)) == {
        "This request could not be executed before the completion window expired."
    }
    server.set(batch_outcome="completed")
    assert len(texts(collect(make(server, tmp_path), QUESTIONS))) == 12
    assert server.stats()["answered_twice"] == 0


def test_a_cancelled_batch_leaves_its_questions(server: MockServer, tmp_path: Path) -> None:
    server.set(batch_seconds=60)
    model = make(server, tmp_path)
    ask(model, QUESTIONS)
    (batch,) = model.pending
    model._service._client.batches.cancel(batch, extra_headers=model._service._extra)
    assert set(failures(collect(model, QUESTIONS))) == {
        "This request was cancelled before it was executed."
    }
    server.set(batch_seconds=0.05)
    assert len(texts(collect(make(server, tmp_path), QUESTIONS))) == 12


def test_lines_that_the_output_does_not_hold_failed(
    server: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = BatchService.read

    def cut(service: BatchService, file: str) -> bytes:
        rows = read(service, file).splitlines(keepends=True)
        return b"".join(rows[:10]) + b'[1]\n"x"\n' + rows[10][:20]

    monkeypatch.setattr(BatchService, "read", cut)
    model = make(server, tmp_path)
    lost = failures(collect(model, QUESTIONS))
    (batch,) = model.report()["batches"]
    assert lost == [f"{batch} is completed without an answer to it"] * 2


def test_a_batch_that_the_service_refuses_says_why(server: MockServer, tmp_path: Path) -> None:
    server.set(batch_max_requests=3)
    model = make(server, tmp_path)
    with pytest.raises(UsageError, match=r"refused the batch: The batch has more than 3 requests"):
        collect(model, QUESTIONS)
    server.set(batch_max_requests=50)
    assert len(texts(collect(make(server, tmp_path), QUESTIONS))) == 12


# -- faults --------------------------------------------------------------------------------------


def test_a_refused_key_is_in_no_message(
    server: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_KEY", KEY)
    model = make(server, tmp_path, key_env="TEST_KEY")
    ask(model, QUESTIONS[:1])
    server.set(api_key="another")
    for requests in (QUESTIONS[:1], QUESTIONS):
        with pytest.raises(UsageError, match="the service answered 401") as caught:
            model.answer(requests)
        assert KEY not in f"{caught.value}{caught.value!r}"
        assert "key_env" in str(caught.value)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files and all(KEY.encode() not in path.read_bytes() for path in files)


def test_a_key_of_the_environment_goes_to_no_other_server(
    server: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_ADMIN_KEY", KEY)
    model = make(server, tmp_path)
    server.set(api_key=KEY)  # it would be let in with it
    with pytest.raises(UsageError, match="answered 401"):
        model.answer(QUESTIONS)


def test_a_server_without_batches_is_named(server: MockServer, tmp_path: Path) -> None:
    server.set(no_batches=True)
    with pytest.raises(UsageError, match=r"answered 404.*without --batch"):
        make(server, tmp_path).answer(QUESTIONS)
    assert lines_handed_in(tmp_path) == []


def test_nobody_there_is_one_line_and_nothing_lost(tmp_path: Path) -> None:
    with serve() as gone:
        model = make(gone, tmp_path)
    model._service._client.max_retries = 0
    with pytest.raises(ServiceUnreachable, match="no connection"):
        model.answer(QUESTIONS)


def test_a_batch_that_the_service_forgot_says_what_to_remove(
    server: MockServer, tmp_path: Path
) -> None:
    ask(make(server, tmp_path), QUESTIONS)
    store = BatchStore(tmp_path / "batches")
    (entry,) = store.load()
    store.write(replace(entry, batch="batch_unknown"))
    with pytest.raises(UsageError, match=rf"404.*remove .*{entry.digest}\.json"):
        make(server, tmp_path).answer(QUESTIONS)


def test_a_fault_of_ours_hands_nothing_in_by_halves(
    server: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BatchService, "upload", lambda *_: 1 / 0)
    with pytest.raises(Exception, match="ZeroDivisionError") as caught:
        make(server, tmp_path).answer(QUESTIONS)
    assert getattr(caught.value, "exit_code", None) == 4


# -- waiting -------------------------------------------------------------------------------------


def test_waiting_ends_with_the_batches(server: MockServer, tmp_path: Path) -> None:
    server.set(batch_seconds=1)  # longer than from the submission to the first look
    model = make(server, tmp_path, wait=True)
    assert not model.settle()  # nothing is pending
    ask(model, QUESTIONS)
    assert model.settle()
    assert model.pending == {}
    assert len(texts(ask(model, QUESTIONS))) == 12


def test_nobody_waits_unasked(server: MockServer, tmp_path: Path) -> None:
    server.set(batch_seconds=60)
    model = make(server, tmp_path)
    ask(model, QUESTIONS)
    assert not model.settle()
    assert list(model.pending.values()) == [12]


def test_waiting_has_patience_with_a_service_that_is_away(
    server: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = [True, True]

    def look(service: BatchService, ident: str) -> BatchState:
        if away and away.pop():
            raise ServiceUnreachable("no connection")
        return real(service, ident)

    real = BatchService.look
    server.set(batch_seconds=1)
    model = make(server, tmp_path, wait=True)
    ask(model, QUESTIONS)
    monkeypatch.setattr(BatchService, "look", look)
    assert model.settle()
    impatient = make(server, tmp_path, wait=True, patience=0.01)
    server.set(batch_seconds=60)
    ask(impatient, [GenerateRequest("new")])
    away[:] = [True] * 1000
    with pytest.raises(ServiceUnreachable):
        impatient.settle()


# -- the store -----------------------------------------------------------------------------------


def test_entries_that_are_over_are_dropped(tmp_path: Path) -> None:
    store, month = BatchStore(tmp_path), 30 * 86400
    old = Entry("a", "u", time.time() - month - 60, ("x",), "batch_1", ended=True)
    kept = Entry("b", "u", time.time() - month - 60, ("x",), "batch_2")
    with store.locked():
        for entry in (old, kept):
            store.write(entry)
        assert store.load() == [kept]
        assert not store.path(old).exists()


@pytest.mark.parametrize("content", ["", "[]", "{}", json.dumps({"lines": [], "failed": []})])
def test_a_file_that_is_no_entry_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(StorageError, match=r"x\.json.*move the file away"):
        BatchStore(tmp_path).load()


def test_a_folder_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(StorageError, match="cannot be noted"),
        BatchStore(tmp_path / "file").locked(),
    ):
        pass
