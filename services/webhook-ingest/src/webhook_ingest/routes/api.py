"""Everything that webhook-ingest answers."""

from typing import Final

from payments_shared.http import Api
from webhook_ingest.routes import backfill, events, public

API: Final = Api(
    service="webhook-ingest",
    summary="Stripe's door: verify, store once, publish.",
    public=(public.SECTION,),
    internal=(backfill.SECTION, events.SECTION),
)
