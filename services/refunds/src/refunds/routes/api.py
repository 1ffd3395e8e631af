"""Everything that refunds answers."""

from typing import Final

from payments_shared.http import Api
from payments_shared.http.operations import Section
from refunds.routes import refunding, ruling

API: Final = Api(
    service="refunds",
    summary="What was captured, and what goes back of it.",
    description=(
        "For staff. Amounts are integers in Stripe's minor units of the `currency` beside them. Every error is "
        "`application/problem+json` with a stable `code`; a refusal of money says what is `refundable`."
    ),
    public=(Section("refunds", "One person asks, and by the rules another agrees.", refunding.OPERATIONS),),
    internal=(Section("rules", "What people may give back by themselves.", ruling.OPERATIONS),),
)
