"""The switch of checkouts, on the internal port."""

from typing import Final

from payments_shared.switches import Switch
from payments_shared.switches.door import switch_operations

OPERATIONS: Final = switch_operations(
    Switch.CHECKOUTS,
    show="See whether new orders are taken, and who turned the switch.",
    turn="Stop new orders, or take them again.",
    about="At once, on every instance. What is under way goes on.",
    reason="prices are wrong",
)
