"""Everything that refunds answers."""

from typing import Final

from payments_shared.http import Api
from payments_shared.http.operations import Section
from refunds.routes import contesting, deciding, disputing, refunding, reporting, ruling, switching

API: Final = Api(
    service="refunds",
    summary="What was captured, and what goes back of it.",
    description=(
        "For staff. Amounts are integers in Stripe's minor units of the `currency` beside them. Every error is "
        "`application/problem+json` with a stable `code`; a refusal of money says what is `refundable`."
    ),
    public=(
        Section(
            "refunds",
            "One person asks, and by the rules another agrees.",
            (*refunding.OPERATIONS, *deciding.OPERATIONS),
        ),
        Section("disputes", "What buyers' banks ask about or take back.", disputing.OPERATIONS),
        Section("evidence", "What proves a disputed payment, and handing it in.", contesting.OPERATIONS),
        Section("report", "What refunds come to, and who or what stands out.", reporting.OPERATIONS),
    ),
    internal=(
        Section("rules", "What people may give back by themselves.", ruling.OPERATIONS),
        Section("switches", "What can be stopped.", switching.OPERATIONS),
    ),
)
