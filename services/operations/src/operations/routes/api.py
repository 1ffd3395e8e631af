"""Everything that operations answers."""

from typing import Final

from operations.routes import acting, looking
from payments_shared.http import Api

API: Final = Api(
    service="operations",
    summary="Dead letters, their replay, and the timeline of an order.",
    internal=(looking.SECTION, acting.SECTION),
)
