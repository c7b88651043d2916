"""The explorer's server: each kind of question is a route, each answer a stream of lines, one message a line.

A question that cannot be answered gets status 400 and says why; once an answer has begun, the reason is its last message.
A reader that closes the connection cancels the work. Only this machine can connect, and only under its own name: a page
elsewhere on the web cannot ask through the reader's browser.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from patchmosaic.app.ask import Ask, whole
from patchmosaic.app.document import FOLDER, live_page
from patchmosaic.app.jobs import Work, answered
from patchmosaic.app.messages import line
from patchmosaic.app.session import Session
from patchmosaic.errors import MissingExtraError, PatchMosaicError

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

HOST = "127.0.0.1"
INSTALL = "pip install 'patchmosaic[app]'"


def application(session: Session) -> Starlette:
    """The explorer as an ASGI application.

    Raises:
        MissingExtraError: starlette is not installed.
    """
    try:
        from starlette.applications import Starlette
        from starlette.middleware import Middleware
        from starlette.middleware.trustedhost import TrustedHostMiddleware
        from starlette.responses import HTMLResponse
        from starlette.routing import Mount, Route
        from starlette.staticfiles import StaticFiles
    except ImportError as error:
        raise MissingExtraError("the explorer needs starlette", hint=INSTALL) from error

    worker = ThreadPoolExecutor(1, thread_name_prefix="explorer")

    async def page(request: Request) -> Response:
        return HTMLResponse(live_page())

    def route(kind: str, question: Callable[[Request], Work]) -> Route:
        async def answer(request: Request) -> Response:
            return await _answer(request, question, worker)

        return Route(f"/api/{kind}", answer)

    return Starlette(
        routes=[
            Route("/", page),
            Mount("/page", StaticFiles(directory=str(FOLDER))),
            *(route(kind, question) for kind, question in questions(session).items()),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])],
    )


def questions(session: Session) -> dict[str, Callable[[Request], Work]]:
    """For each kind of question, what turns a request into the work of answering it."""

    def choices(request: Request) -> Work:
        return lambda progress: session.choices()

    def facts(request: Request) -> Work:
        source, images = _source(request)
        return lambda progress: session.facts(source, images, progress)

    def trajectory(request: Request) -> Work:
        ask = Ask.from_query(request.query_params)
        return lambda progress: session.trajectory(ask, progress)

    def provenance(request: Request) -> Work:
        ask, first = Ask.from_query(request.query_params), whole(request.query_params, "first", 0)
        return lambda progress: session.provenance(ask, first, progress)

    def images(request: Request) -> Work:
        source, count = _source(request)
        at = [whole({"at": word}, "at", 0) for word in request.query_params.get("at", "").split(",")]
        return lambda progress: session.images(source, count, [position for position in at if position is not None])

    def results(request: Request) -> Work:
        source, _ = _source(request)
        return lambda progress: session.results(source)

    return {
        "choices": choices,
        "facts": facts,
        "trajectory": trajectory,
        "provenance": provenance,
        "images": images,
        "results": results,
    }


def _source(request: Request) -> tuple[str, int | None]:
    return request.query_params.get("source", ""), whole(request.query_params, "images", 1)


async def _answer(request: Request, question: Callable[[Request], Work], worker: ThreadPoolExecutor) -> Response:
    from starlette.responses import JSONResponse, StreamingResponse

    try:
        work = question(request)
    except PatchMosaicError as error:
        return JSONResponse({"error": str(error)}, 400)
    messages = answered(work, worker, request.is_disconnected)
    first = await anext(messages, None)
    if first is not None and "error" in first:
        return JSONResponse(first, 400)

    async def lines() -> AsyncIterator[bytes]:
        if first is not None:
            yield line(first)
        async for message in messages:
            yield line(message)

    return StreamingResponse(lines(), media_type="application/x-ndjson", headers={"Cache-Control": "no-store"})


def listening(port: int) -> socket.socket:
    """A socket on this machine alone; port 0 is any free one.

    Raises:
        PatchMosaicError: the port is taken.
    """
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise PatchMosaicError(
            f"cannot listen at this port ({error})", got=port, hint="--port 0 takes any free one."
        ) from error
    listener.listen()
    return listener


def serve(session: Session, listener: socket.socket) -> None:
    """Answer until interrupted.

    Raises:
        MissingExtraError: starlette or uvicorn is not installed.
    """
    try:
        import uvicorn
    except ImportError as error:
        raise MissingExtraError("the explorer needs uvicorn", hint=INSTALL) from error
    config = uvicorn.Config(application(session), log_level="warning", timeout_graceful_shutdown=1)
    uvicorn.Server(config).run(sockets=[listener])
