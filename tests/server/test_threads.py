from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import weakref

import pytest

from blindai.server.threads import BoundedThreads, QueueFull


@pytest.fixture
def gate():
    event = threading.Event()
    yield event
    event.set()


async def test_results_and_errors_come_back():
    """What the call returns or raises is what the caller gets."""
    threads = BoundedThreads("test", threads=2, max_waiting=2)
    assert await threads.run(lambda: threading.current_thread().name) in ("test-0", "test-1")
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda: 1 // 0)
    threads.close()


async def test_the_bound(gate):
    """Calls beyond those running and waiting are refused at once; afterwards there is room again."""
    threads = BoundedThreads("test", threads=1, max_waiting=1)
    calls = [asyncio.ensure_future(threads.run(gate.wait)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(QueueFull):
        await threads.run(gate.wait)
    gate.set()
    assert await asyncio.gather(*calls) == [True, True]
    assert await threads.run(gate.wait)
    threads.close()


async def test_a_cancelled_call_that_waits_is_not_made(gate):
    """Nothing is computed for a caller who has gone."""
    threads = BoundedThreads("test", threads=1, max_waiting=1)
    made = []
    first = asyncio.ensure_future(threads.run(gate.wait))
    second = asyncio.ensure_future(threads.run(lambda: made.append(1)))
    await asyncio.sleep(0)
    second.cancel()
    gate.set()
    await first
    await threads.run(lambda: None)
    assert made == []
    threads.close()


async def test_a_cancelled_call_that_runs_keeps_its_place(gate):
    """A call that cannot be stopped counts until it has ended."""
    threads = BoundedThreads("test", threads=1, max_waiting=0)
    started = threading.Event()
    call = asyncio.ensure_future(threads.run(lambda: (started.set(), gate.wait())))
    await asyncio.to_thread(started.wait)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    assert threads.running
    with pytest.raises(QueueFull):
        await threads.run(lambda: None)
    threads.close()


async def test_idle_threads_hold_nothing():
    """After a call, neither its function nor its result stays in memory."""

    class Payload:
        pass

    threads = BoundedThreads("test", threads=1, max_waiting=0)
    payload = Payload()
    reference = weakref.ref(payload)
    result = await threads.run(lambda payload=payload: payload)
    del payload, result
    await threads.run(lambda: None)
    await asyncio.sleep(0)
    assert reference() is None
    threads.close()


async def test_a_failed_call_leaves_nothing_behind():
    """What a call that raised had in its hands is free at once, without the garbage collector."""

    class Payload:
        pass

    def fail(payload):
        raise ValueError(id(payload))

    threads = BoundedThreads("test", threads=1, max_waiting=0)
    payload = Payload()
    reference = weakref.ref(payload)
    gc.disable()
    try:
        with contextlib.suppress(ValueError):
            await threads.run(lambda payload=payload: fail(payload))
        del payload
        await threads.run(lambda: None)
        await asyncio.sleep(0)
        assert reference() is None
    finally:
        gc.enable()
    threads.close()
