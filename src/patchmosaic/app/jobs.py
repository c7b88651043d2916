"""Answers made in a thread: told message by message, cancelled when nobody listens any more.

Work is a generator that takes a progress callback. All work shares one thread, for two computations at once would only
slow each other; the callback raises `Cancelled` inside the work, at the next step or inside it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Executor
from threading import Event

from patchmosaic.app.messages import Message
from patchmosaic.errors import PatchMosaicError
from patchmosaic.progress import Progress, heard_inside

Work = Callable[[Progress], Iterator[Message]]

TELL_EVERY = 0.1  # seconds between two messages of progress
LOOK_EVERY = 0.2  # seconds between two looks whether anybody still listens


class Cancelled(Exception):
    """Raised by the progress callback inside work that nobody wants any more."""


async def answered(work: Work, executor: Executor, gone: Callable[[], Awaitable[bool]]) -> AsyncIterator[Message]:
    """The messages of `work`, made in `executor`, with those of its progress between them.

    Bad input ends them with {"error": what was wrong}; any other exception is raised.

    Args:
        gone: whether the listener has left. Closing this iterator cancels too.
    """
    loop = asyncio.get_running_loop()
    waiting: asyncio.Queue[Message | None] = asyncio.Queue()
    cancelled = Event()

    def tell(message: Message | None) -> None:
        loop.call_soon_threadsafe(waiting.put_nowait, message)

    job = loop.run_in_executor(executor, _run, work, tell, cancelled)
    job.add_done_callback(lambda _: waiting.put_nowait(None))
    try:
        while not await gone():
            try:
                message = await asyncio.wait_for(waiting.get(), LOOK_EVERY)
            except TimeoutError:
                continue
            if message is None:
                await job  # raises what the work raised
                return
            yield message
    finally:
        cancelled.set()


def _run(work: Work, tell: Callable[[Message], None], cancelled: Event) -> None:
    told = time.monotonic()

    def go_on() -> None:
        if cancelled.is_set():
            raise Cancelled

    def progress(what: str, done: int, total: int) -> None:
        nonlocal told
        go_on()
        if time.monotonic() - told > TELL_EVERY:
            told = time.monotonic()
            tell({"progress": {"what": what, "done": done, "total": total}})

    try:
        go_on()  # it may have waited for its turn
        with heard_inside(progress):
            for message in work(progress):
                tell(message)
                go_on()
    except PatchMosaicError as error:
        tell({"error": str(error)})
    except Cancelled:
        return
