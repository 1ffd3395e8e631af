"""What a decision about an order is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from refunds.model.bills import Active
from refunds.model.refunds import Payment
from refunds.model.rules import Rules, Standing


@dataclass(frozen=True, slots=True)
class Position:
    """What the money of an order stands at, at one moment: its captures, what is spent of each tender by its name and
    what disputes withhold of each payment, in minor units, and the requests of which something is active. `rules` are
    None as long as nobody made any, and `others_rules`, the newest that the requester did not make himself, as long as
    nobody else did."""

    payments: Sequence[Payment]
    spent: Mapping[str, int]
    withheld: Mapping[str, int]
    active: Sequence[Active]
    rules: Rules | None
    others_rules: Rules | None
    standing: Standing
    now: datetime
