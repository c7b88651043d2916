"""Answers made in a thread: their order, their errors, and that they stop when nobody listens."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from patchmosaic.app import jobs
from patchmosaic.app.jobs import answered
from patchmosaic.errors import PatchMosaicError
from patchmosaic.progress import inside

SECONDS = 20  # after which a test that hangs has failed


async def here():
    return False


def told(work, gone=here):
    """All messages of `work`."""

    async def collect():
        with ThreadPoolExecutor(1) as executor:
            return [message async for message in answered(work, executor, gone)]

    return asyncio.run(asyncio.wait_for(collect(), SECONDS))


def test_messages_come_in_order():
    assert told(lambda progress: ({"step": i} for i in range(100))) == [{"step": i} for i in range(100)]


def test_progress_is_told_between_messages(monkeypatch):
    monkeypatch.setattr(jobs, "TELL_EVERY", -1.0)

    def work(progress):
        progress("drawing", 1, 2)
        inside()("one step", 3, 4)  # from deep within
        yield {"step": 0}

    assert told(work) == [
        {"progress": {"what": "drawing", "done": 1, "total": 2}},
        {"progress": {"what": "one step", "done": 3, "total": 4}},
        {"step": 0},
    ]


def test_bad_input_is_the_last_message():
    def work(progress):
        yield {"step": 0}
        raise PatchMosaicError("no such machine", got="X")

    assert told(work) == [{"step": 0}, {"error": "no such machine, got X."}]


def test_a_fault_is_not_hidden():
    def work(progress):
        yield {"step": 0}
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        told(work)


@pytest.mark.parametrize("how", ["gone", "closed"])
def test_work_stops_when_nobody_listens(how):
    stopped = threading.Event()

    def endless(progress):
        try:
            step = 0
            while True:
                progress("working", step, 10**9)
                step += 1
                yield {"step": step}
        finally:
            stopped.set()

    async def leave():
        left = False

        async def gone():
            return left

        with ThreadPoolExecutor(1) as executor:
            messages = answered(endless, executor, gone)
            assert await anext(messages) == {"step": 1}
            if how == "closed":
                await messages.aclose()
            else:
                left = True
                assert [message async for message in messages] == []
            await asyncio.to_thread(stopped.wait, SECONDS)

    asyncio.run(asyncio.wait_for(leave(), SECONDS))
    assert stopped.is_set()


def test_work_that_was_cancelled_before_its_turn_never_begins():
    begun = []

    async def overtake():
        free = threading.Event()
        with ThreadPoolExecutor(1) as executor:
            executor.submit(free.wait, SECONDS)
            left = False

            async def gone():
                return left

            messages = answered(lambda progress: iter(begun.append(1) or ()), executor, gone)
            waiting = asyncio.ensure_future(anext(messages, None))
            await asyncio.sleep(0)
            left = True
            assert await waiting is None
            free.set()

    asyncio.run(asyncio.wait_for(overtake(), SECONDS))
    assert begun == []
