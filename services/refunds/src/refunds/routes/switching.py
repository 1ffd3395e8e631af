"""The switch of refunds, on the internal port."""

from typing import Final

from payments_shared.switches import Switch
from payments_shared.switches.door import switch_operations

OPERATIONS: Final = switch_operations(
    Switch.REFUNDS,
    show="See whether money goes back, and who turned the switch.",
    turn="Stop giving money back, or go on.",
    about=(
        "At once, on every instance, for what people ask for and what the system owes, as money or as store credit. "
        "What is owed meanwhile is kept, and goes back once the switch is open; what Stripe was asked for goes on."
    ),
    reason="a rule gives back too much",
)
