"""`payctl order`."""

from operations.payctl.app import AsJson, TokenFile, Url, call, show_json, table


def order(order_id: str, url: Url, token_file: TokenFile, *, as_json: AsJson = False) -> None:
    """The story of an order: every message about it, in order, and its dead letters."""
    told = call(url, token_file, "GET", f"/admin/orders/{order_id}/timeline")
    if as_json:
        show_json(told)
        return
    table(
        f"Order {order_id}", {"time": "Time", "type": "Message", "source": "From", "message_id": "Id"}, told["messages"]
    )
    if told["dead_letters"]:
        table(
            "Dead letters",
            {"service": "Service", "type": "Type", "status": "Status", "reason": "Reason"},
            told["dead_letters"],
        )
