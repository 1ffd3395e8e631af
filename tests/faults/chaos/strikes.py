"""How each kind of fault strikes the stage and heals again. Each says what it struck, or raises `NoEffect`."""

import asyncio
import contextlib
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

import asyncpg
import psutil

from payments_shared.contracts.catalog import SERVICES, schema_name
from tests.faults.chaos.network import SPOILING, take_effect
from tests.faults.chaos.plan import BROKER, POSTGRES, Fault, Kind, Link
from tests.faults.chaos.stage import NAMESPACE, NoEffect, Stage

EFFECT_SECONDS: Final = 90.0  # what it would strike may be held up by another fault
CONTROL_SECONDS: Final = 180.0  # a busy machine starts an Erlang slowly


async def strike(stage: Stage, fault: Fault) -> str:
    """Let `fault` strike, last, and end; what it struck.

    Raises:
        NoEffect: nothing was struck.
        ChildFailed: what was started again did not come back.
    """
    return await _WAYS[fault.kind](stage, fault)


async def counted(count: Callable[[], Awaitable[int]], what: str) -> int:
    """The first count above zero.

    Raises:
        NoEffect: it stays zero.
    """
    deadline = time.monotonic() + EFFECT_SECONDS
    while not (number := await count()):
        if time.monotonic() > deadline:
            raise NoEffect(f"{what}: none within {EFFECT_SECONDS:.0f} s")
        await asyncio.sleep(0.1)
    return number


# -- services --------------------------------------------------------------------------------------------------------


async def _kill(stage: Stage, fault: Fault) -> str:
    with stage.ending(fault.whom):
        pid = stage.child(fault.whom).pid
        await asyncio.to_thread(stage.deployment.kill, fault.whom)
        _gone(pid)
        await stage.hold(fault.seconds)
        stage.launch(fault.whom)
    await stage.alive(fault.whom)
    return f"pid {pid} gone, {stage.child(fault.whom).pid} took over"


def _gone(pid: int) -> None:
    if psutil.pid_exists(pid):
        raise NoEffect(f"pid {pid} is still there")


async def _deploy(stage: Stage, fault: Fault) -> str:
    with stage.ending(fault.whom):
        pid = stage.child(fault.whom).pid
        status = await asyncio.to_thread(stage.deployment.stop, fault.whom)
        _gone(pid)
        if status != 0:
            raise NoEffect(f"{fault.whom} did not drain: status {status}\n{stage.child(fault.whom).tail(10)}")
        stage.launch(fault.whom)
    await stage.alive(fault.whom)
    return f"pid {pid} drained with status 0, {stage.child(fault.whom).pid} took over"


async def _stop(stage: Stage, fault: Fault) -> str:
    return await _frozen(stage, fault, [psutil.Process(stage.child(fault.whom).pid)])


async def _frozen(stage: Stage, fault: Fault, processes: Iterable[psutil.Process]) -> str:
    frozen = [process for process in processes if _signalled(process, signal.SIGSTOP)]

    async def stopped() -> int:
        return sum(_status(process) == psutil.STATUS_STOPPED for process in frozen)

    try:
        number = await counted(stopped, f"stopped processes of {fault.whom}")
        await stage.hold(fault.seconds)
    finally:
        for process in frozen:
            _signalled(process, signal.SIGCONT)
    return f"{number} processes stopped"


def _signalled(process: psutil.Process, number: signal.Signals) -> bool:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return False  # a backend that ended by itself
    return True


def _status(process: psutil.Process) -> str:
    try:
        return str(process.status())
    except psutil.NoSuchProcess:
        return "gone"


# -- servers ---------------------------------------------------------------------------------------------------------


async def _broker_kill(stage: Stage, fault: Fault) -> str:
    with stage.ending(BROKER):
        pid = stage.child(BROKER).pid
        await asyncio.to_thread(stage.broker.kill)
        _gone(pid)
        await stage.hold(fault.seconds)
        await asyncio.to_thread(stage.broker.start)
    return f"pid {pid} gone, {stage.child(BROKER).pid} took over"


async def _power_cut(stage: Stage, fault: Fault) -> str:
    """Both servers and all services die in the same moment; Stripe and the mail server are elsewhere."""
    names = fault.takes
    with contextlib.ExitStack() as down:
        for name in names:
            down.enter_context(stage.ending(name))
        children = [stage.child(name) for name in names]
        for child in children:
            child.popen.kill()
        await asyncio.gather(*(asyncio.to_thread(child.kill) for child in children))
        for child in children:
            _gone(child.pid)
        await stage.hold(fault.seconds)
        for name in SERVICES:  # as a machine starts: in no order, and each waits for what it needs
            stage.launch(name)
        await asyncio.gather(asyncio.to_thread(stage.postgres.start), asyncio.to_thread(stage.broker.start))
    await asyncio.gather(*(stage.alive(name) for name in SERVICES))
    return f"{len(children)} processes gone at once"


async def _broker_stop(stage: Stage, fault: Fault) -> str:
    return await _frozen(stage, fault, [psutil.Process(stage.child(BROKER).pid)])


async def _broker_cut(stage: Stage, fault: Fault) -> str:
    async def closed() -> int:
        return await asyncio.to_thread(_close_connections, stage, f"{NAMESPACE}_{fault.whom}")

    return f"{await counted(closed, f'connections of {fault.whom} at the broker')} connections closed"


def _close_connections(stage: Stage, user: str) -> int:
    listed: Any = stage.broker.management("GET", "/api/connections?columns=name,user")
    names = [each["name"] for each in listed if each.get("user") == user]
    for name in names:
        escaped = name.replace(" ", "%20").replace(">", "%3E")
        stage.broker.management("DELETE", f"/api/connections/{escaped}")
    return len(names)


async def _broker_alarm(stage: Stage, fault: Fault) -> str:
    async def alarmed() -> int:
        nodes: Any = await asyncio.to_thread(stage.broker.management, "GET", "/api/nodes?columns=disk_free_alarm")
        return sum(bool(node["disk_free_alarm"]) for node in nodes)

    await asyncio.to_thread(_evaluate, stage, _FULL.format(milliseconds=round(fault.seconds * 1000)))
    number = await counted(alarmed, "nodes with a disk alarm")
    deadline = time.monotonic() + fault.seconds + EFFECT_SECONDS
    while await alarmed():
        if time.monotonic() > deadline:
            raise NoEffect("the alarm of the disk does not end")
        await asyncio.sleep(0.2)
    return f"{number} node alarmed"


# The broker itself ends the alarm: to start an Erlang for that takes a busy machine longer than the alarm may last.
_FULL: Final = """
spawn(fun() ->
    rabbit_disk_monitor:set_disk_free_limit("90000GB"),
    timer:sleep({milliseconds}),
    rabbit_disk_monitor:set_disk_free_limit("200MB")
end).
"""


def _evaluate(stage: Stage, erlang: str) -> None:
    program = stage.broker.installation.home / "sbin/rabbitmqctl"
    environment = stage.broker._environment()
    subprocess.run(
        [str(program), "-q", "eval", erlang], env=environment, check=True, timeout=CONTROL_SECONDS, capture_output=True
    )


async def _postgres_restart(stage: Stage, fault: Fault) -> str:
    with stage.ending(POSTGRES):
        pid = stage.child(POSTGRES).pid
        await asyncio.to_thread(stage.postgres.stop, number=signal.SIGQUIT)
        _gone(pid)
        await stage.hold(fault.seconds)
        await asyncio.to_thread(stage.postgres.start)
    return f"pid {pid} gone, {stage.child(POSTGRES).pid} took over"


async def _postgres_stop(stage: Stage, fault: Fault) -> str:
    postmaster = psutil.Process(stage.child(POSTGRES).pid)
    return await _frozen(stage, fault, [postmaster, *postmaster.children(recursive=True)])


async def _postgres_cut(stage: Stage, fault: Fault) -> str:
    login = f"{NAMESPACE}_{schema_name(fault.whom)}"

    async def ended() -> int:
        connection = await asyncpg.connect(stage.postgres.dsn, timeout=5)
        try:
            return int(await connection.fetchval(_TERMINATE, login))
        finally:
            await connection.close()

    return f"{await counted(ended, f'connections of {login}')} connections ended"


_TERMINATE: Final = "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = $1"


# -- Stripe ----------------------------------------------------------------------------------------------------------

ANSWERS: Final[Mapping[Kind, Mapping[str, object]]] = {
    Kind.STRIPE_429: {"kind": "rate_limit", "probability": 0.5},
    Kind.STRIPE_500: {"kind": "error_500", "probability": 0.3},
    Kind.STRIPE_CUT_BEFORE: {"kind": "cut_before", "probability": 0.5},
    Kind.STRIPE_CUT_AFTER: {"kind": "cut_after", "probability": 0.5},
    Kind.STRIPE_SLOW: {"kind": "delay", "probability": 0.3, "seconds": 6.0},
}
DELIVERIES: Final[Mapping[Kind, tuple[str, Mapping[str, float]]]] = {
    Kind.WEBHOOKS_DOUBLED: ("duplicate", {"duplicate": 0.7}),
    Kind.WEBHOOKS_SHUFFLED: ("reorder", {"reorder_seconds": 3.0}),
    Kind.WEBHOOKS_LATE: ("delay", {"delay_seconds": 4.0, "reorder_seconds": 1.0}),
    Kind.WEBHOOKS_DROPPED: ("drop", {"drop": 0.3}),
}


async def _answers(stage: Stage, fault: Fault) -> str:
    """Requests of one resource are answered badly. The simulator draws the lots."""
    await stage.stripe("POST", "/_sim/faults", {**ANSWERS[fault.kind], "path": f"/v1/{fault.whom}", "count": 10**6})

    async def struck() -> int:
        return sum(int(armed["struck"]) for armed in (await stage.stripe("GET", "/_sim/faults"))["faults"])

    try:
        await stage.hold(fault.seconds)
        await counted(struck, f"requests for {fault.whom}")
    finally:
        number = await struck()
        await stage.stripe("DELETE", "/_sim/faults")
    return f"{number} requests struck"


async def _deliveries(stage: Stage, fault: Fault) -> str:
    name, chaos = DELIVERIES[fault.kind]

    async def total() -> int:
        return int((await stage.stripe("GET", "/_sim/deliveries"))["misbehaved"].get(name, 0))

    before = await total()

    async def struck() -> int:
        return await total() - before

    await stage.stripe("POST", "/_sim/chaos", chaos)
    try:
        await stage.hold(fault.seconds)
        await counted(struck, f"webhooks {name}")
    finally:
        await stage.stripe("POST", "/_sim/chaos", {})
    return f"{await struck()} webhooks struck"


# -- the mail server -------------------------------------------------------------------------------------------------

MAILS: Final[Mapping[Kind, str]] = {Kind.MAIL_REFUSED: "refuse", Kind.MAIL_SWALLOWED: "swallow"}


async def _mails(stage: Stage, fault: Fault) -> str:
    async def struck() -> int:
        return int((await stage.mailbox("GET"))["struck"])

    await stage.mailbox("POST", {"kind": MAILS[fault.kind], "count": 10**6})
    try:
        await stage.hold(fault.seconds)
        number = await counted(struck, f"{fault.kind}")
    finally:
        await stage.mailbox("POST", {"kind": "none", "count": 0})
    return f"{number} mails struck"


# -- the network -----------------------------------------------------------------------------------------------------


async def _network(stage: Stage, fault: Fault) -> str:
    assert isinstance(fault.target, Link)
    proxy = stage.network.proxies[fault.target]
    struck = await asyncio.to_thread(take_effect, proxy, fault)

    async def count() -> int:
        return await asyncio.to_thread(struck)

    try:
        await stage.hold(fault.seconds)
        number = await counted(count, f"{fault.kind}, {fault.whom}")
    finally:
        await asyncio.to_thread(proxy.clear)
    return f"struck {number} times"


_WAYS: Final[Mapping[Kind, Callable[[Stage, Fault], Awaitable[str]]]] = {
    Kind.KILL: _kill,
    Kind.DEPLOY: _deploy,
    Kind.STOP: _stop,
    Kind.POWER_CUT: _power_cut,
    Kind.BROKER_KILL: _broker_kill,
    Kind.BROKER_STOP: _broker_stop,
    Kind.BROKER_CUT: _broker_cut,
    Kind.BROKER_ALARM: _broker_alarm,
    Kind.POSTGRES_RESTART: _postgres_restart,
    Kind.POSTGRES_STOP: _postgres_stop,
    Kind.POSTGRES_CUT: _postgres_cut,
    **dict.fromkeys(ANSWERS, _answers),
    **dict.fromkeys(DELIVERIES, _deliveries),
    **dict.fromkeys(MAILS, _mails),
    Kind.NETWORK_CUT: _network,
    **dict.fromkeys(SPOILING, _network),
}
