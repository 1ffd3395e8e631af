"""A crowd is let in a few at a time, and who would wait too long is told so before anything is done for them."""

import asyncio

import pytest

from payments_shared.admission import Admission
from payments_shared.errors import Retryable


async def test_no_more_are_inside_than_allowed_and_all_get_their_turn() -> None:
    admission = Admission(at_once=3, patience_seconds=10)
    inside, most, served = 0, 0, 0

    async def visit() -> None:
        nonlocal inside, most, served
        async with admission.turn():
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1
            served += 1

    await asyncio.gather(*(visit() for _ in range(50)))

    assert (most, served, admission.waiting) == (3, 50, 0)


async def test_whoever_runs_out_of_patience_is_told_when_to_come_again() -> None:
    admission = Admission(at_once=1, patience_seconds=0.05)
    async with admission.turn():
        with pytest.raises(Retryable) as refused:
            async with admission.turn():
                pytest.fail("there was no room")

    assert refused.value.code == "busy"
    assert refused.value.retry_after_seconds >= 1
    async with admission.turn():
        assert admission.waiting == 0


async def test_a_hopeless_queue_is_not_joined() -> None:
    admission = Admission(at_once=1, patience_seconds=0.2)
    leave = asyncio.Event()

    async def visit() -> None:
        async with admission.turn():
            await leave.wait()

    loop = asyncio.get_running_loop()
    for _ in range(8):  # the pace is learned from visits that take longer than patience
        leave.clear()
        loop.call_later(0.3, leave.set)
        await visit()
    leave.clear()
    inside = asyncio.ensure_future(visit())
    queue = [asyncio.ensure_future(visit()) for _ in range(2)]
    await asyncio.sleep(0)
    started = loop.time()

    with pytest.raises(Retryable):
        await visit()

    assert loop.time() - started < 0.1, "refused at once, not after waiting"
    leave.set()
    await asyncio.gather(inside, *queue, return_exceptions=True)


async def test_an_error_inside_frees_the_place() -> None:
    admission = Admission(at_once=1, patience_seconds=1)
    with pytest.raises(ZeroDivisionError):
        async with admission.turn():
            raise ZeroDivisionError

    async with admission.turn():
        assert admission.waiting == 0
