"""The page served on this machine alone (`pip install 'vaekit[explore]'`).

It listens on loopback, and answers whoever has the token of its address and has come by that address: a page of another
site, whose name may have been made to point here, is refused. It gives out its own page and what is asked of the run,
never a file by its path.
"""

from __future__ import annotations

import asyncio
import hmac
import inspect
import json
import secrets
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...errors import unknown
from .answers import Answers
from .place import LOOPBACK, check_libraries
from .values import as_json
from .web import PAGE, SCRIPT, STYLE, asset

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from .live import Live

OPEN = "open the address that vaekit explore has printed"
LARGEST = 16 * 2**20
"""Bytes of a question, at most."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
QUESTIONS: dict[str, Callable[..., Any]] = {
    "encode": Answers.encode,
    "decode": Answers.decode,
    "score": Answers.score,
    "draw": Answers.draw,
    "impute": Answers.impute,
}


class Refused(Exception):  # noqa: N818 - an answer
    """A question that is not answered: why, in a line, and the status of HTTP."""

    def __init__(self, why: str, status: int = 400) -> None:
        super().__init__(why)
        self.status = status


@dataclass
class Service:
    """What is served: answers about a run, and its `scene` as JSON, to who has the `token` and comes by one of
    `hosts`. While a run is trained there are none of these, but what a page shows of it meanwhile, which is `live`.
    """

    answers: Answers | None
    scene: str
    token: str
    hosts: tuple[str, ...]
    stop: Callable[[], None]
    lock: threading.Lock = field(default_factory=threading.Lock)
    """One question at a time: torch's random streams are one for all."""
    live: Live | None = None

    def app(self) -> ASGIApp:
        """The service as an application of ASGI."""
        from starlette.applications import Starlette
        from starlette.concurrency import run_in_threadpool
        from starlette.routing import Route

        async def page(request: Request) -> Response:
            if not self._knows(request.query_params.get("token", "")):
                raise Refused(f"the token is missing or wrong; {OPEN}", 403)
            return _text(asset(PAGE), "text/html")

        def own(name: str, kind: str) -> Route:
            async def given(request: Request) -> Response:
                return _text(asset(name), kind)

            return Route(f"/{name}", given)

        def told(name: str, of: Callable[[Request], str]) -> Route:
            async def given(request: Request) -> Response:
                self._check(request)
                return _json(of(request))

            return Route(f"/api/{name}", given)

        async def stop(request: Request) -> Response:
            self._check(request)
            self._of_a_run()
            self.stop()
            return _json("{}")

        async def question(request: Request) -> Response:
            self._check(request)
            name = request.path_params["name"]
            if name not in QUESTIONS:
                raise Refused(unknown("question", name, QUESTIONS), 404)
            given = _arguments(name, await _body(request))
            return _json(await run_in_threadpool(self._answer, name, given))

        routes = [
            Route("/", page),
            own(SCRIPT, "text/javascript"),
            own(STYLE, "text/css"),
            told("scene", lambda _: self._scene()),
            told("training/{name}", self._of_training),
            Route("/api/stop", stop, methods=["POST"]),
            Route("/api/{name}", question, methods=["POST"]),
        ]
        handlers: Any = {Refused: _refusal, 404: _not_there, 405: _not_there, Exception: _failure}
        return _Guard(Starlette(routes=routes, exception_handlers=handlers), self.hosts)

    def _knows(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(), self.token.encode())

    def _check(self, request: Request) -> None:
        if not self._knows(request.headers.get("x-token", "")):
            raise Refused(f"the header X-Token is missing or wrong; {OPEN}", 403)

    def _scene(self) -> str:
        return self.scene if self.live is None or self.answers is not None else self.live.told()

    def _of_training(self, request: Request) -> str:
        """What a page is told that shows a training: where that is, or what else it asks for."""
        if self.live is None:
            raise Refused("no training goes on here", 404)
        name, since = request.path_params["name"], request.query_params.get("since", "0")
        given = {"points": self.live.points, "look": self.live.look}
        return given.get(name) or self.live.told(int(since) if since.isdecimal() and len(since) < 9 else 0)

    def _of_a_run(self) -> Answers:
        if self.answers is None:
            raise Refused("the training goes on; the model can be asked when it has ended", 409)
        return self.answers

    def _answer(self, name: str, given: dict[str, Any]) -> str:
        answers = self._of_a_run()
        try:
            with self.lock:
                return as_json(QUESTIONS[name](answers, **given))
        except (ValueError, ArithmeticError, MemoryError, TypeError, RuntimeError) as error:
            raise Refused(" ".join(str(error).split()) or type(error).__name__) from error


class _Guard:
    """Refuses who comes by another name than this machine's, and adds the headers that a browser is to obey."""

    def __init__(self, app: ASGIApp, hosts: tuple[str, ...]) -> None:
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", []), *own]
            await send(message)

        given = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if len(given) != 1 or given[0] not in self.hosts:
            await _error(f"this page is at {self.hosts[0]} alone; {OPEN}", 403)(scope, receive, sending)
            return
        await self.app(scope, receive, sending)


class Served:
    """A page at a socket: its `address`, and what serves it."""

    def __init__(self, listening: socket.socket, answers: Answers | None, scene: str, live: Live | None = None) -> None:
        import uvicorn

        port, token = listening.getsockname()[1], secrets.token_urlsafe(24)
        hosts = (f"{LOOPBACK}:{port}", f"localhost:{port}")
        self.address = f"http://{hosts[0]}/?token={token}"
        self.service = Service(answers, scene, token, hosts, self.stop, live=live)
        config = uvicorn.Config(self.service.app(), log_level="critical", lifespan="off", timeout_graceful_shutdown=5)
        self._server, self._listening = uvicorn.Server(config), listening

    def run(self) -> None:
        """Serve until it is told to stop (by the page, or by Ctrl-C in the main thread)."""
        with suppress(KeyboardInterrupt):  # which is how it is ended
            if not _in_a_loop():
                self._server.run(sockets=[self._listening])
                return
            serving = threading.Thread(target=self._server.run, kwargs={"sockets": [self._listening]}, daemon=True)
            serving.start()
            try:
                serving.join()
            finally:
                self.stop()
                serving.join()

    def stop(self) -> None:
        """Have it end soon."""
        self._server.should_exit = True


def serve(answers: Answers, scene: str, listening: socket.socket, said: Callable[[str], object] = print) -> None:
    """Serve the page at a socket until it is told to stop: `said` gets its address."""
    check_libraries()
    page = Served(listening, answers, scene)
    with suppress(KeyboardInterrupt):
        said(page.address)
        page.run()


def _in_a_loop() -> bool:
    """Whether this thread runs an event loop, as a notebook's does, within which no other can be run."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def _body(request: Request) -> bytes:
    """The body of a request, refused as soon as it is too large."""
    found = bytearray()
    async for part in request.stream():
        found += part
        if len(found) > LARGEST:
            raise Refused(f"the question has more than {LARGEST:,} bytes; ask about fewer data at a time", 413)
    return bytes(found)


def _arguments(name: str, body: bytes) -> dict[str, Any]:
    """What a question is about, by name; `Refused` where it is no JSON object with these names."""
    try:
        given = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Refused(f"the question is no JSON: {' '.join(str(error).split())}") from None
    if not isinstance(given, dict):
        raise Refused(f"the question is a JSON {type(given).__name__}; accepted: an object")
    parameters = list(inspect.signature(QUESTIONS[name]).parameters.values())[1:]
    accepted = [each.name for each in parameters]
    if others := [key for key in given if key not in accepted]:
        raise Refused(unknown(f"argument of {name}", others[0], accepted))
    if lacking := [each.name for each in parameters if each.default is each.empty and each.name not in given]:
        raise Refused(f"{name} lacks {lacking[0]}; accepted: {', '.join(accepted)}")
    return given


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is no number of JSON")


def _text(text: str, kind: str, status: int = 200) -> Response:
    from starlette.responses import Response

    return Response(text, status, media_type=kind)


def _json(text: str, status: int = 200) -> Response:
    return _text(text, "application/json", status)


def _error(why: str, status: int) -> Response:
    return _json(as_json({"error": why}), status)


async def _refusal(request: Request, error: Refused) -> Response:
    return _error(str(error), error.status)


async def _not_there(request: Request, error: Any) -> Response:
    return _error(f"{request.method} {request.url.path[:100]} is not served here", error.status_code)


async def _failure(request: Request, error: Exception) -> Response:
    return _error(f"the question failed ({type(error).__name__})", 500)
