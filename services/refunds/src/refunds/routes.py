"""What refunds says about itself on its internal port; it takes messages alone."""

from typing import Final

from payments_shared.http import Api

API: Final = Api(service="refunds", summary="Captured payments, and what is paid back of them.")
