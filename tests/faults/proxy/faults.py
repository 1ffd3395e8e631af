"""The faults, as data that both processes understand, and what is in force at a moment."""

import asyncio
import dataclasses
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, TypeVar


@dataclass(frozen=True, slots=True)
class Delay:
    """Each piece of up to 64 KiB waits: `up_seconds` on its way to the server, `down_seconds` to the client, and up to
    `jitter_seconds` more."""

    up_seconds: float = 0.0
    down_seconds: float = 0.0
    jitter_seconds: float = 0.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Throttle:
    """So many bytes a second in each direction of each connection."""

    bytes_per_second: int


@dataclass(frozen=True, slots=True)
class Blackhole:
    """What is sent that way is read and lost; the server sees no new connection. What lost bytes is cut when the fault
    is cleared: it could only go on with a hole in its stream."""

    up: bool = True
    down: bool = True


@dataclass(frozen=True, slots=True)
class Refuse:
    """Nobody listens. Counted once when it is set, since the kernel itself refuses; open connections stay."""


@dataclass(frozen=True, slots=True)
class CutNew:
    """New connections are accepted and reset."""

    probability: float = 1.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class SwallowCommit:
    """PostgreSQL commits, nobody is told, and the connection is reset. Also for a write that is its own transaction."""

    probability: float = 1.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class SwallowConfirm:
    """The broker's confirmation of a publish is dropped. With `cuts` the connection is reset then, else it stays."""

    probability: float = 1.0
    seed: int = 0
    cuts: bool = True


@dataclass(frozen=True, slots=True)
class SwallowAnswer:
    """A request reaches the HTTP server, its answer is dropped, and the connection is reset. Only requests that begin
    with `prefix`, as in `POST /v1/refunds`."""

    probability: float = 1.0
    seed: int = 0
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class SwallowReply:
    """What the mail server says is dropped, and the connection is reset: any reply but the one by which a mail is
    taken."""

    probability: float = 1.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class SwallowReceipt:
    """The mail server takes a mail, its sender is not told, and the connection is reset. The proxy counts these by
    Message-ID as well."""

    probability: float = 1.0
    seed: int = 0


Swallow: TypeAlias = SwallowCommit | SwallowConfirm | SwallowAnswer | SwallowReply | SwallowReceipt
Fault: TypeAlias = Delay | Throttle | Blackhole | Refuse | CutNew | Swallow
_KINDS: Final[dict[str, type[Fault]]] = {
    kind.__name__: kind
    for kind in (
        Delay, Throttle, Blackhole, Refuse, CutNew, SwallowCommit, SwallowConfirm, SwallowAnswer, SwallowReply,
        SwallowReceipt,
    )
}  # fmt: skip
F = TypeVar("F", bound=Fault)


def to_json(fault: Fault) -> dict[str, Any]:  # Any: JSON
    """The fault as JSON values."""
    return {"kind": type(fault).__name__, **dataclasses.asdict(fault)}


def from_json(given: dict[str, Any]) -> Fault:  # Any: JSON
    """The fault that `to_json` wrote."""
    values = dict(given)
    return _KINDS[values.pop("kind")](**values)


@dataclass(slots=True)
class InForce:
    """What is in force, one fault of each kind, and how often each struck and could have struck. `untold`: by
    Message-ID, how often a mail was taken and its sender not told."""

    faults: dict[str, Fault] = field(default_factory=dict)
    struck: "Counter[str]" = field(default_factory=Counter)
    chances: "Counter[str]" = field(default_factory=Counter)
    untold: "Counter[str]" = field(default_factory=Counter)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    _dice: dict[str, random.Random] = field(default_factory=dict)

    def set(self, fault: Fault) -> None:
        """Put `fault` in force, in place of another of its kind. The same seed draws the same lots again."""
        kind = type(fault).__name__
        self.faults[kind] = fault
        self._dice[kind] = random.Random(getattr(fault, "seed", 0))
        self._tell()

    def clear(self, *kinds: str) -> None:
        """Lift the faults of `kinds`, all when none is named."""
        for kind in kinds or tuple(self.faults):
            self.faults.pop(kind, None)
        self._tell()

    def _tell(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    def get(self, kind: type[F]) -> F | None:
        """The fault of that kind, None when there is none."""
        found = self.faults.get(kind.__name__)
        return found if isinstance(found, kind) else None

    def drawn(self, kind: type[CutNew | Swallow]) -> bool:
        """Whether the lot falls on this one. The caller counts it with `strike` once it took effect."""
        fault = self.get(kind)
        if fault is None:
            return False
        self.chances[kind.__name__] += 1
        return self._dice[kind.__name__].random() < fault.probability

    def jitter(self, fault: Delay) -> float:
        """Seconds by which one piece is later than `fault` says."""
        return self._dice["Delay"].uniform(0.0, fault.jitter_seconds)

    def strike(self, kind: type[Fault]) -> None:
        """Count one effect."""
        self.struck[kind.__name__] += 1
