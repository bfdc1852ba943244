"""The server reads, on this machine, what it lists; nothing else."""

from __future__ import annotations

import http.client
import json
import shutil
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from llmeval.core import UsageError
from llmeval.reports.view.serve import Library, ViewServer
from llmeval.runs import Run
from tests.reports.view.samples import choice, completion
from tests.support.records import Item, items_of, write_record


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    (folder / "secret.txt").write_text("secret")
    results = folder / "results"
    for name, logprobs in (("run-a", [-1.0, -2.0, -3.0]), ("run-b", [-2.0, -1.0, -3.0])):
        items = [choice("x", logprobs, 0), completion("y", "an answer", 1.0)]
        run = write_record(results / name, {"t": items}, model=f"model of {name}")
        started = {"started": "2026-01-02T03:04:05+00:00"}
        (run.path / "manifest.json").write_text(json.dumps(run.manifest | started))
    (results / "notes").mkdir()
    (results / "broken").mkdir()
    (results / "broken" / "manifest.json").write_text("{")
    return results


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ViewServer]:
    with ViewServer(Library([], folder)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(
    server: ViewServer, path: str, method: str = "GET", host: str | None = None
) -> tuple[int, str, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host or f"127.0.0.1:{server.server_port}")
    connection.endheaders()
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text, dict(answer.getheaders())


def ask_json(server: ViewServer, path: str) -> Any:
    status, text, headers = ask(server, path)
    assert (status, headers["Content-Type"]) == (200, "application/json")
    return json.loads(text)


def test_it_listens_on_this_machine_only(server: ViewServer) -> None:
    assert server.server_address[0] == "127.0.0.1"
    assert server.server_port > 0


def test_it_lists_the_runs_of_its_folder(server: ViewServer) -> None:
    status, text, _ = ask(server, "/")
    assert status == 200
    assert "model of run-a" in text
    assert '<a href="/view/run-b">' in text
    assert "manifest.json is not JSON" in text
    assert "notes" not in text


def test_a_run_and_two_side_by_side_have_pages(server: ViewServer) -> None:
    for path, words in (("/view/run-a", "Results"), ("/view/run-a/run-b", "What changed")):
        status, text, _ = ask(server, path)
        assert status == 200
        assert words in text
        assert "connect-src &#39;self&#39;" in text


def test_items_come_page_by_page(server: ViewServer) -> None:
    first = ask_json(server, "/api/run-a/items?limit=1")
    rest = ask_json(server, "/api/run-a/items?offset=1&limit=500")
    beyond = ask_json(server, "/api/run-a/items?offset=99&limit=5")
    assert (first["count"], [row["id"] for row in first["rows"]]) == (2, ["x"])
    assert [row["id"] for row in rest["rows"]] == ["y"]
    assert beyond["rows"] == []


def test_an_item_comes_whole(server: ViewServer) -> None:
    (item,) = ask_json(server, "/api/run-a/items/0")
    assert item["id"] == "x"
    assert len(item["choices"]) == 3
    both = ask_json(server, "/api/run-a/run-b/items/0")
    assert [side["id"] for side in both] == ["x", "x"]
    assert ask_json(server, "/api/run-a/locate?task=t&id=y") == {"position": 1}


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/view/../secret.txt",
        "/view/..%2fsecret.txt",
        "/view/%2e%2e",
        "/view/..",
        "/view/%2Fetc%2Fpasswd",
        "/view/run-a%00",
        "/view/run-a/../..",
        "/view/notes",
        "/view/run-a/run-b/run-a",
        "/api/../secret.txt/items",
        "/api",
        "/api/run-a",
        "/api/items",
        "/api/run-a/items/99",
        "/api/run-a/items/-1",
        "/api/run-a/items/%C2%B2",
        "/style.css",
    ],
)
def test_what_is_not_listed_is_not_there(server: ViewServer, path: str) -> None:
    status, text, _ = ask(server, path)
    assert status == 404
    assert "secret" not in text.replace("secret.txt", "")


@pytest.mark.parametrize("query", ["task=x", "offset=-1", "limit=ten", "sort=1", "low=one"])
def test_a_wrong_query_is_said(server: ViewServer, query: str) -> None:
    status, text, _ = ask(server, f"/api/run-a/items?{query}")
    assert status == 400
    assert "\n" not in text


def test_a_broken_record_is_said(server: ViewServer) -> None:
    status, text, _ = ask(server, "/view/broken")
    assert status == 400
    assert "broken/manifest.json: the record cannot be read" in text
    assert "\n" not in text


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "localhost.:{port}"]
)
def test_another_name_that_points_here_is_refused(server: ViewServer, host: str) -> None:
    status, text, _ = ask(server, "/", host=host.format(port=server.server_port))
    assert status == 403
    assert "model of" not in text


def test_localhost_is_its_name_too(server: ViewServer) -> None:
    assert ask(server, "/", host=f"localhost:{server.server_port}")[0] == 200


def test_a_request_without_a_host_is_refused(server: ViewServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.putrequest("GET", "/", skip_host=True)
    connection.endheaders()
    assert connection.getresponse().status == 403
    connection.close()


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "X"])
def test_only_get_is_answered(server: ViewServer, method: str) -> None:
    status, _, headers = ask(server, "/", method)
    assert (status, headers["Allow"]) == (405, "GET")


def test_answers_are_not_kept_nor_read_elsewhere(server: ViewServer) -> None:
    for path in ("/", "/api/run-a/items", "/nowhere"):
        headers = ask(server, path)[2]
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "Access-Control-Allow-Origin" not in headers


def test_many_ask_at_once(server: ViewServer) -> None:
    answers: list[Any] = []
    paths = [
        f"/api/run-a/items?search={word}" for word in ("an+answer", "careful", "which", "zz")
    ] * 4
    threads = [
        threading.Thread(target=lambda p=path: answers.append(ask_json(server, p)["count"]))
        for path in paths
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == sorted([1, 1, 1, 0] * 4)


def test_named_runs_are_the_only_ones(folder: Path) -> None:
    run = write_record(folder.parent / "elsewhere" / "own", {"t": [Item("1", {"acc": 1.0})]})
    with ViewServer(Library([run], folder)) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,)).start()
        assert server.url_of([run]) == f"http://127.0.0.1:{server.server_port}/view/own"
        assert server.url_of([]) == server.url
        assert ask(server, "/view/own")[0] == 200
        assert ask(server, "/view/run-a")[0] == 404
        server.shutdown()


def test_what_is_shown_is_what_the_record_holds_now(tmp_path: Path) -> None:
    def write(folder: Path, values: Sequence[float]) -> Run:
        return write_record(folder, {"t": items_of(values)}, status="interrupted")

    write(tmp_path / "results" / "run", [1.0])
    with ViewServer(Library([], tmp_path / "results")) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,)).start()
        assert ask_json(server, "/api/run/items")["count"] == 1
        whole = write(tmp_path / "whole", [1.0, 0.0])  # the run was continued
        for name in ("scores.parquet", "samples.parquet", "summary.json", "manifest.json"):
            (whole.path / name).rename(tmp_path / "results" / "run" / name)
        assert ask_json(server, "/api/run/items?search=q")["count"] == 2
        shutil.rmtree(tmp_path / "results" / "run")
        for path in ("/view/run", "/api/run/items", "/api/run/items/0", "/api/run/items?search=q"):
            assert ask(server, path)[:2] == (404, "no run run")
        server.shutdown()


def test_a_port_that_is_taken_is_said(server: ViewServer, folder: Path) -> None:
    with pytest.raises(UsageError, match="cannot be opened"):
        ViewServer(Library([], folder), server.server_port)
