"""Lists, cursors and expansion, which all resources share."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from aiohttp import web

from sandbox.stripe.errors import invalid, no_such
from sandbox.stripe.machine import money_of
from sandbox.stripe.store import Json, Store

Given = dict[str, Any]  # Any: nested parameters
Row = tuple[str, str, Callable[[web.Request, Given], Json]]  # method, path below /v1/, handler
LIMIT_MAX: Final = 100
EXPANSION_MAX: Final = 4  # levels


def page(rows: Sequence[Json], given: Given, url: str, *, among: Sequence[Json] | None = None) -> Json:
    """A list page, newest first, with Stripe's cursors. A cursor names one of `among`, all objects that there are:
    it need not be one of those that the list's filters let through."""
    limit = money_of(given.get("limit", 10), "limit", minimum=1)
    if limit > LIMIT_MAX:
        raise invalid(f"This value must be less than or equal to {LIMIT_MAX}.", param="limit")
    found = [row for row in reversed(rows) if _within(row["created"], given.get("created"))]
    if after := given.get("starting_after"):
        older = _apart(among or rows, after, "starting_after")[0]
        found = [row for row in found if row["id"] in older]
    elif before := given.get("ending_before"):
        newer_ids = _apart(among or rows, before, "ending_before")[1]
        newer = [row for row in found if row["id"] in newer_ids]
        return {"object": "list", "data": newer[-limit:], "has_more": len(newer) > limit, "url": url}
    return {"object": "list", "data": found[:limit], "has_more": len(found) > limit, "url": url}


def _apart(every: Sequence[Json], cursor: str, param: str) -> tuple[set[str], set[str]]:
    """The ids before the cursor's object and those after it."""
    ids = [row["id"] for row in every]
    if cursor not in ids:
        raise no_such("object", cursor, param=param, status=400)
    place = ids.index(cursor)
    return set(ids[:place]), set(ids[place + 1 :])


def _within(at: int, bounds: Any) -> bool:  # Any: a form value
    if bounds is None:
        return True
    if not isinstance(bounds, dict):
        return at == money_of(bounds, "created")
    tests: dict[str, Callable[[int], bool]] = {
        "gte": lambda bound: at >= bound,
        "gt": lambda bound: at > bound,
        "lte": lambda bound: at <= bound,
        "lt": lambda bound: at < bound,
    }
    return all(tests[name](money_of(bound, f"created[{name}]")) for name, bound in bounds.items() if name in tests)


def expanded(store: Store, value: Json, paths: Any) -> Json:  # Any: a form value
    """`value` with references replaced by their objects."""
    for path in paths if isinstance(paths, list) else []:
        steps = str(path).split(".")
        if len(steps) > EXPANSION_MAX:
            raise invalid("You cannot expand more than 4 levels of a property.", param="expand")
        value = _expand(store, value, steps)
    return value


def _expand(store: Store, value: Any, steps: list[str]) -> Any:  # Any: any part of an object
    if not steps or value is None:
        return value
    if isinstance(value, list):
        return [_expand(store, item, steps) for item in value]
    if not isinstance(value, dict):
        return value
    inner = value.get(steps[0])
    if isinstance(inner, str) and not store.kind_of.get(inner, "_").startswith("_"):
        inner = store.objects[inner]
    if steps[0] == "line_items" and value.get("object") == "checkout.session":
        inner = line_items(store, value)
    if steps[0] == "refunds" and value.get("object") == "charge":
        inner = refunds_of(store, value)
    return {**value, steps[0]: _expand(store, inner, steps[1:])}


def line_items(store: Store, session: Json) -> Json:
    """The lines of a session as a list."""
    hidden = store.objects["req_" + session["id"]]
    url = f"/v1/checkout/sessions/{session['id']}/line_items"
    return {"object": "list", "data": hidden["line_items"], "has_more": False, "url": url}


def refunds_of(store: Store, charge: Json) -> Json:
    """The refunds of a charge as a list."""
    rows = [row for row in store.all("refund") if row["charge"] == charge["id"]]
    return page(rows, {}, f"/v1/charges/{charge['id']}/refunds")
