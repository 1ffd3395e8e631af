"""What the clock brings about: sessions expire, debits arrive, slow refunds end, fees become known."""

from sandbox.stripe.machine import Machine
from sandbox.stripe.store import Json
from sandbox.stripe.transitions import intents, refunds, sessions


def run(machine: Machine) -> int:
    """Let everything happen whose time has come; how much it was."""
    done = 0
    while (entry := machine.next_due()) is not None:
        _happen(machine, entry["what"], machine.store.objects[entry["subject"]])
        done += 1
    return done


def _happen(machine: Machine, what: str, subject: Json) -> None:
    match what:
        case "expire":
            sessions.expire_if_due(machine, subject)
        case "settle" if subject["status"] == "processing":
            sessions.settle(machine, subject, success=intents.arrives(machine, subject))
        case "void" if subject["status"] == "requires_capture":
            intents.cancel(machine, subject, reason="automatic")
        case "balance":
            intents.balance(machine, subject)
        case "refund_pending" if subject["status"] == "pending":
            refunds.change(machine, subject, "succeeded")
        case "refund_fails" if subject["status"] == "succeeded":
            refunds.change(machine, subject, "failed")
        case _:
            pass  # settled by hand before its time
