"""One service process: start, run, and on SIGTERM or SIGINT see the guests off, close the
doors, finish the work, drain."""

import asyncio
import contextlib
import gc
import signal
import sys
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Final, NoReturn, Protocol

import structlog

from payments_shared import tracing
from payments_shared.logs import configure_logging
from payments_shared.loop_watch import watch_loop
from payments_shared.settings import EXIT_CONFIG, ServiceSettings

# How much of a drain is over when each step of it is, whatever the step waits for: the last ones need theirs as well.
FRONT_SHARE: Final = 0.4
TASKS_SHARE: Final = 0.65
CANCELED_SHARE: Final = 0.7
BACK_SHARE: Final = 0.8
GUESTS_SHARE: Final = 0.9  # of a door's time; in the rest it closes behind whoever stayed for all of it

log = structlog.get_logger(__name__)
Drain = Callable[[], Awaitable[object]]


class Door(Protocol):
    """What guests come through."""

    def leave(self) -> None:
        """Say from now on, with each answer, that guests should go elsewhere."""

    async def stop(self, *, within_seconds: float) -> None:
        """Close, once those who are inside have been answered or the time is over."""


class Process:
    """What a service's `start` registers its tasks and its drain with."""

    def __init__(self, service: str, *, drain_seconds: float, leave_seconds: float = 0.0) -> None:
        self.service = service
        self.terminating = asyncio.Event()
        self.stopping = asyncio.Event()
        self.failed = False
        self._front: list[tuple[str, Door]] = []
        self._back: list[tuple[str, Door]] = []
        self._before: list[tuple[str, Drain]] = []
        self._drain_seconds = drain_seconds
        self._leave_seconds = leave_seconds
        self._leaving: list[Callable[[], None]] = []
        self._tasks: dict[asyncio.Task[None], str] = {}
        self._drains: list[tuple[str, Drain]] = []

    def background(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run `run()` until `stopping` is set, which it must watch. If it ends or fails earlier, the process stops:
        a service that lost a part must not look healthy."""
        task = asyncio.ensure_future(self._supervise(name, run))
        self._tasks[task] = name

    async def _supervise(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        try:
            await run()
        except asyncio.CancelledError:
            if self.stopping.is_set():
                raise
            # Nobody but the drain cancels a task of ours: a library did, and the part is lost.
            log.exception("process.task_cancelled_by_itself", task=name)
            self.failed = True
            self.terminating.set()
        except BaseException:
            log.exception("process.task_failed", task=name)
            self.failed = True
            self.terminating.set()
        else:
            if not self.stopping.is_set():
                log.error("process.task_ended", task=name)
                self.failed = True
                self.terminating.set()

    def front_door(self, name: str, door: Door) -> None:
        """A door that closes first of all at shutdown, while the tasks still run, which its last guests need."""
        self._leaving.append(door.leave)
        self._front.append((name, door))

    def back_door(self, name: str, door: Door) -> None:
        """A door that stays open until the work is done, for those who look in from behind."""
        self._leaving.append(door.leave)
        self._back.append((name, door))

    def on_terminate(self, name: str, close: Drain) -> None:
        """Call `close` first of all at shutdown, while the tasks still run: for what front doors need closed before."""
        self._before.append((name, close))

    def on_drain(self, name: str, drain: Drain) -> None:
        """Call `drain` at shutdown, after everything that was registered later, once all tasks have ended."""
        self._drains.append((name, drain))

    async def drain(self) -> None:
        """Let guests go elsewhere, for as long as that takes; then let the tasks finish what they began and run the
        drains, all within the time given. What takes longer than its share keeps nobody from being told to end."""
        await self._leave()
        begun = asyncio.get_running_loop().time()
        front, tasks, canceled, back, end = (
            begun + share * self._drain_seconds for share in (FRONT_SHARE, TASKS_SHARE, CANCELED_SHARE, BACK_SHARE, 1.0)
        )
        await self._in_time("front doors", self._see_off(front), until=front)
        self.stopping.set()
        await self._settle_tasks(until=tasks, canceled_until=canceled)
        await self._in_time("back doors", self._close(self._back, until=back), until=back)
        await self._in_time("drains", self._run(self._drains), until=end)

    async def _in_time(self, what: str, steps: Awaitable[None], *, until: float) -> None:
        try:
            async with asyncio.timeout_at(until):
                await steps
        except TimeoutError:
            log.error("process.drain_timed_out", what=what, seconds=self._drain_seconds)
            self.failed = True

    async def _see_off(self, until: float) -> None:
        await self._run(self._before)
        await self._close(self._front, until=until)

    async def _close(self, doors: list[tuple[str, Door]], *, until: float) -> None:
        """All at once: whoever stays behind one of them takes nothing from the guests of another."""
        left = until - asyncio.get_running_loop().time()
        closing = [(name, partial(door.stop, within_seconds=left * GUESTS_SHARE)) for name, door in doors]
        await asyncio.gather(*(self._step(name, close) for name, close in closing))

    async def _leave(self) -> None:
        for leave in self._leaving:
            leave()
        if not self.failed:  # a service that lost a part has nothing to offer meanwhile
            await asyncio.sleep(self._leave_seconds)

    async def _run(self, steps: list[tuple[str, Drain]]) -> None:
        for name, step in reversed(steps):
            await self._step(name, step)

    async def _step(self, name: str, step: Drain) -> None:
        try:
            await step()
        except asyncio.CancelledError:
            log.error("process.drain_step_unfinished", step=name)
            raise
        except Exception:
            log.exception("process.drain_failed", step=name)
            self.failed = True

    async def _settle_tasks(self, *, until: float, canceled_until: float) -> None:
        late = await _wait(self._tasks, until)
        for task in late:
            log.error("process.task_cancelled", task=self._tasks[task])
            task.cancel()
        for task in await _wait(late, canceled_until):
            log.error("process.task_stuck", task=self._tasks[task])
            self.failed = True


async def _wait(tasks: Iterable[asyncio.Task[None]], until: float) -> set[asyncio.Task[None]]:
    """Those that have not ended by then."""
    running = set(tasks)
    if running:
        _, running = await asyncio.wait(running, timeout=max(0.0, until - asyncio.get_running_loop().time()))
    return running


def run(service: str, start: Callable[[Process], Awaitable[None]], settings: ServiceSettings) -> NoReturn:
    """Run a service to its end. Exit status 0 after a clean drain, 1 when anything failed."""
    configure_logging(service, level=settings.log_level)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        failed = runner.run(_main(service, start, settings))
    sys.exit(1 if failed else 0)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes the loop of every process here: uvloop where it is installed, else None for asyncio's own."""
    with contextlib.suppress(ImportError):
        import uvloop

        return uvloop.new_event_loop
    return None


def settle_memory() -> None:
    """After a start: what is there stays to the end, and no collection needs to look at it again. Later ones come
    seldom, since requests and messages leave few cycles behind."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


def record_spans(service: str, endpoint: str, sample_ratio: float) -> Drain:
    """Record spans from now on; the answer sends what is left of them at the end.

    Raises:
        SystemExit: what is needed for it is not installed.
    """
    try:
        from payments_shared import telemetry
    except ModuleNotFoundError as error:
        sys.stderr.write(f"PAYMENTS_OTLP_ENDPOINT: needs payments-shared[tracing], of which {error.name} is missing\n")
        raise SystemExit(EXIT_CONFIG) from None
    export = telemetry.start_export(service, endpoint, sample_ratio=sample_ratio)
    tracing.record_with(telemetry.Recorder(export.tracer, sample_ratio))
    return export.close


async def _main(service: str, start: Callable[[Process], Awaitable[None]], settings: ServiceSettings) -> bool:
    process = Process(service, drain_seconds=settings.drain_seconds, leave_seconds=settings.leave_seconds)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, process.terminating.set)
    try:
        if settings.otlp_endpoint is not None:
            # Registered first, it is the last of the drains, and sends the spans of the others.
            process.on_drain("spans", record_spans(service, str(settings.otlp_endpoint), settings.otlp_sample_ratio))
        await start(process)
        process.background("loop-watch", lambda: watch_loop(process.stopping))
        settle_memory()
        await process.terminating.wait()
        log.info("service.stopping")
    except Exception:
        log.exception("service.start_failed")
        process.failed = True
    await process.drain()
    log.info("service.stopped", failed=process.failed)
    return process.failed
