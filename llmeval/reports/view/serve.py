"""A read-only server on this machine for runs that are too large for one page.

It answers GET only, to its own address only: a page elsewhere that lets its name point here (DNS
rebinding) is refused by its Host header. What can be named are the runs that it lists, never paths.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from llmeval.core import LlmevalError, UsageError
from llmeval.reports.view.catalog import list_folder, list_named, render_catalog
from llmeval.reports.view.chunks import dump
from llmeval.reports.view.items import Items
from llmeval.reports.view.pages import describe_items, render
from llmeval.reports.view.queries import Finder, parse_query
from llmeval.runs import Run, load_run
from llmeval.runs.catalog import MANIFEST, CatalogRow
from llmeval.runs.find import list_run_ids

ADDRESS = "127.0.0.1"
_NAMES = (ADDRESS, "localhost")
_KEPT_VIEWS = 4
_MOST_LIMIT = 500
_IDLE_SECONDS = 60

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",  # the page's own policy says the rest
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_HTML, _JSON = "text/html; charset=utf-8", "application/json"


class NotHere(LlmevalError):
    """The address names nothing."""


class Library:
    """The runs that may be looked at, and what was made of those that were.

    Args:
        runs: the only ones; where there are none, all of ``folder``, also those that come later.

    Raises:
        UsageError: two runs have the same name.
    """

    def __init__(self, runs: Sequence[Run], folder: Path, *, across_forms: bool = False) -> None:
        self._named = list_named(runs)
        if repeated := [id for id, n in Counter(row.id for row in self._named).items() if n > 1]:
            raise UsageError(
                "two runs have this name", where=repeated[0], mend="serve them one by one"
            )
        self._folder = folder
        self._across_forms = across_forms
        self._lock = Lock()
        self._views: OrderedDict[tuple[str, ...], View] = OrderedDict()

    def rows(self) -> list[CatalogRow]:
        """Return the runs as a list shows them."""
        return self._named or list_folder(self._folder)

    def view(self, ids: Sequence[str]) -> View:
        """Return the view of one run or two.

        Raises:
            NotHere: there is no such run.
            UsageError: a record cannot be read.
        """
        key = tuple(ids)
        with self._lock:  # two windows that open at once build it once
            if key not in self._views or not self._views[key].is_current:
                self._views.pop(key, None)
                self._views[key] = View([self._find(id) for id in ids], self._across_forms)
                if len(self._views) > _KEPT_VIEWS:
                    self._views.popitem(last=False)
            self._views.move_to_end(key)
            return self._views[key]

    def _find(self, run_id: str) -> Run:
        """Return a run that is listed: an id is looked up among them, never joined to a path."""
        if self._named:
            paths = {row.id: row.path for row in self._named}
        else:
            paths = {id: self._folder / id for id in list_run_ids(self._folder)}
        if run_id not in paths:
            raise NotHere(f"no run {run_id}")
        return load_run(paths[run_id])


class View:
    """One run or two, as a page and as what that asks for."""

    def __init__(self, runs: Sequence[Run], across_forms: bool) -> None:
        self._written = [_when_written(run) for run in runs]
        self.items = Items(runs)
        self._finder = Finder(self.items)
        self._across_forms = across_forms
        self._page: str | None = None
        self._lock = Lock()

    @property
    def is_current(self) -> bool:
        """Whether the records are still those that were read: none was removed or continued."""
        return self._written == [_when_written(run) for run in self.items.runs]

    def page(self) -> str:
        """Return the page, made once."""
        with self._lock:
            if self._page is None:
                api = "/api/" + "/".join(quote(run.id, safe="") for run in self.items.runs)
                meta = describe_items(self.items) | {"chunks": [], "api": api}
                self._page = render(self.items.runs, meta, across_forms=self._across_forms)
            return self._page

    def list_items(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Return how many items match, and some of their rows."""
        found = self._finder.find(parse_query(query, self.items))
        offset, limit = _bounded(query, "offset", len(found)), _bounded(query, "limit", _MOST_LIMIT)
        shown = found[offset : offset + limit]
        return {"count": len(found), "rows": self._finder.rows(shown.tolist())}

    def open_item(self, position: str) -> list[dict[str, Any] | None]:
        """Return an item whole."""
        if not (position.isascii() and position.isdecimal() and len(position) < 12):
            raise NotHere("no such item")
        for item in self.items.read([int(position)]):
            return item
        raise NotHere("no such item")

    def locate(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Return the position of a sample."""
        return {"position": self._finder.locate(query.get("task", ""), query.get("id", ""))}


def _when_written(run: Run) -> int | None:
    try:
        return (run.path / MANIFEST).stat().st_mtime_ns  # written last
    except OSError:
        return None


def _bounded(query: Mapping[str, str], name: str, most: int) -> int:
    text = query.get(name, "0")
    if not (text.isascii() and text.isdecimal()):
        raise UsageError(f"{name} is not a number")
    return min(int(text[:12]), most)


class ViewServer(ThreadingHTTPServer):
    """Serves a library; ``url`` is where."""

    daemon_threads = True  # a request in work does not keep the process

    def __init__(self, library: Library, port: int = 0) -> None:
        self.library = library
        try:
            super().__init__((ADDRESS, port), _Handler)
        except OSError as error:
            raise UsageError(
                f"port {port} cannot be opened: {error.strerror or error}",
                where="--port",
                mend="leave --port out: a free one is taken",
            ) from error
        self.hosts = {f"{name}:{self.server_port}" for name in _NAMES}
        if self.server_port == 80:
            self.hosts |= set(_NAMES)

    @property
    def url(self) -> str:
        return f"http://{ADDRESS}:{self.server_port}/"

    def url_of(self, runs: Sequence[Run]) -> str:
        """Return the address of one run or two; of the list of runs for any other number."""
        ids = [quote(row.id, safe="") for row in list_named(runs)]
        return f"{self.url}view/{'/'.join(ids)}" if 1 <= len(ids) <= 2 else self.url

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that left amid an answer is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_SECONDS
    server: ViewServer

    def do_GET(self) -> None:
        if self.headers.get("Host") not in self.server.hosts:
            self._say(HTTPStatus.FORBIDDEN, "this server answers to its own address only")
            return
        try:
            body, kind = self._answer()
        except NotHere as error:
            self._say(HTTPStatus.NOT_FOUND, str(error))
        except LlmevalError as error:
            self._say(HTTPStatus.BAD_REQUEST, str(error))
        except Exception as error:
            self._say(HTTPStatus.INTERNAL_SERVER_ERROR, f"{type(error).__name__}: {error}")
        else:
            self._send(HTTPStatus.OK, body, kind)

    def _answer(self) -> tuple[bytes, str]:
        address = urlsplit(self.path)
        query = dict(parse_qsl(address.query, keep_blank_values=True))
        path = [unquote(part) for part in address.path.split("/")[1:]]
        library = self.server.library
        match path:
            case [""]:
                return render_catalog(library.rows()).encode("utf-8", "replace"), _HTML
            case ["view", first] | ["view", first, ""]:
                return library.view([first]).page().encode("utf-8", "replace"), _HTML
            case ["view", first, second]:
                return library.view([first, second]).page().encode("utf-8", "replace"), _HTML
            case ["api", *rest]:
                return dump(_answer_api(library, rest, query)), _JSON
        raise NotHere("no such page")

    def _say(self, status: HTTPStatus, text: str) -> None:
        self._send(status, text.encode("utf-8", "replace"), "text/plain; charset=utf-8")

    def _send(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """End what is no request, or another method than GET."""
        self.close_connection = True  # what else it holds is not read
        if code == HTTPStatus.NOT_IMPLEMENTED:
            self._say(HTTPStatus.METHOD_NOT_ALLOWED, "this server is read-only")
        else:
            self._say(HTTPStatus(code), HTTPStatus(code).phrase)

    def version_string(self) -> str:
        return "llmeval"

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is logged: the terminal is the user's."""


def _answer_api(library: Library, path: Sequence[str], query: Mapping[str, str]) -> Any:
    """``/api/RUN[/RUN]/items``, ``…/items/POSITION``, ``…/locate``."""
    if len(path) >= 2 and path[-2] == "items":
        *ids, _, position = path
        return _view(library, ids).open_item(position)
    *ids, verb = path or [""]
    verbs: dict[str, Callable[[View], Any]] = {
        "items": lambda view: view.list_items(query),
        "locate": lambda view: view.locate(query),
    }
    if verb not in verbs:
        raise NotHere("no such page")
    return verbs[verb](_view(library, ids))


def _view(library: Library, ids: Sequence[str]) -> View:
    if not 1 <= len(ids) <= 2:
        raise NotHere("no such page")
    return library.view(ids)
