"""The kernel that every change goes through: find, emit, and remember what falls due."""

import copy
import heapq
from dataclasses import dataclass, field
from typing import Any

from sandbox.stripe import objects
from sandbox.stripe.errors import invalid, no_such
from sandbox.stripe.store import Json, Store, new_id


@dataclass(slots=True)
class Machine:
    """Every change of one request is committed together; its events are delivered afterwards."""

    store: Store
    public_url: str
    over_refund_guard: bool = True
    emitted: list[Json] = field(default_factory=list)
    request_id: str | None = None
    request_key: str | None = None
    _due: list[tuple[int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._due = [(entry["at"], entry["id"]) for entry in self.store.all("_due")]
        heapq.heapify(self._due)

    def emit(self, type_: str, subject: Json, *, previous: Json | None = None) -> None:
        """Record an event about `subject` as it is now; `previous` holds what an update changed, as it was."""
        made = objects.event(
            self.store,
            type_,
            copy.deepcopy(subject),
            previous=copy.deepcopy(previous),
            request_id=self.request_id,
            key=self.request_key,
        )
        self.store.put("_delivery", {"id": "dlv_" + made["id"], "event": made["id"], "state": "waiting", "attempts": 0})
        self.emitted.append(made)

    def get(self, kind: str, object_id: str, *, param: str = "id", status: int = 404) -> Json:
        """An object, or Stripe's refusal: 404, and 400 where the id was a parameter of something else."""
        found = self.store.find(kind, object_id)
        if found is None:
            raise no_such(kind.replace(".", " "), object_id, param=param, status=status)
        return found

    def schedule(self, what: str, subject_id: str, at: int) -> None:
        """Let `what` happen to an object once the simulated clock shows `at`; kept across a restart."""
        entry: Json = {"id": new_id("due"), "what": what, "subject": subject_id, "at": at}
        self.store.put("_due", entry)
        heapq.heappush(self._due, (at, entry["id"]))

    def next_due(self) -> Json | None:
        """Take the earliest entry whose time has come."""
        if not self._due or self._due[0][0] > self.store.now():
            return None
        _, entry_id = heapq.heappop(self._due)
        return self.store.remove("_due", entry_id)


def money_of(text: Any, param: str, *, minimum: int = 0) -> int:  # Any: a form value
    """A form value as an integer amount."""
    try:
        value = int(str(text))
    except ValueError:
        raise invalid(f"Invalid integer: {text}", param=param, code="parameter_invalid_integer") from None
    if value < minimum:
        raise invalid(
            f"This value must be greater than or equal to {minimum}.",
            param=param,
            code="parameter_invalid_integer",
        )
    return value
