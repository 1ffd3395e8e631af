"""Everything that checkout answers."""

from typing import Final

from checkout.routes import (
    admin,
    buying,
    crediting,
    delivery,
    events,
    importing,
    judging,
    losing,
    methods,
    one_click,
    promoting,
    quoting,
    recovering,
    switching,
)
from payments_shared.http import Api
from payments_shared.http.api import PUBLIC_ABOUT
from payments_shared.http.operations import Section

API: Final = Api(
    service="checkout",
    summary="What a shop's front end may call, and the catalogue behind it.",
    description=(
        "Amounts are integers in Stripe's minor units of the `currency` beside them. Prices are never accepted: they "
        "come from the catalogue. Every error is `application/problem+json` with a stable `code`; unknown members of "
        "any answer should be ignored.\n\n"
        "Pages of other origins may call the shop's operations when the deployment lists their origin "
        "(`PAYMENTS_ALLOWED_ORIGINS`): preflights are answered 204, every answer has `Vary: Origin`. Cookies play no "
        "part."
    ),
    public=(
        Section(
            "orders",
            "From a cart to an order, for the shop's front end.",
            (quoting.QUOTE, *buying.OPERATIONS, one_click.BUY, *recovering.OPERATIONS, *events.OPERATIONS),
        ),
        Section("payment methods", "What signed-in customers saved to pay with.", methods.OPERATIONS),
        Section("store credit", "What signed-in customers were given to pay with.", (crediting.SHOW,)),
        PUBLIC_ABOUT,
    ),
    internal=(
        Section(
            "catalogue", "Products, prices and coupons.", (*admin.CATALOG, *promoting.OPERATIONS, *importing.OPERATIONS)
        ),
        Section("delivery", "Ways to ship, and tax rates.", delivery.OPERATIONS),
        Section("grants", "Store credit that customers are given.", crediting.OF_STAFF),
        Section("inspection", "Orders as staff see them, and decide about them.", (*admin.ORDERS, *judging.OPERATIONS)),
        Section("lost payments", "Money taken for orders that are not here.", losing.OPERATIONS),
        Section("switches", "What can be stopped.", switching.OPERATIONS),
    ),
)
