"""What an operator may change in a message, and what not. Pure.

A copy keeps the id of its original, so that the inbox lets only one of the two take effect, whatever becomes of
either. What says which message it is, and what it says of money, of whose it is and what it is for, is not an
operator's to change. Nor is what is secret: he is not shown it, and where he leaves what stands for it, it stays.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from operations.decide.replaying import wire_id
from payments_shared.contracts.catalog import CATALOG
from payments_shared.contracts.stripe import PREFIX
from payments_shared.errors import FieldError, Refused
from payments_shared.redaction import REDACTED, redacted, redacted_text

Json = dict[str, Any]  # Any: JSON
_NOTHING: Final = object()
# Whose money it is, where it goes, and what it is for.
_OWNED: Final = frozenset(
    {
        "account",
        "currency",
        "destination",
        "dispute_id",
        "payment_intent",
        "payment_method",
        "quantity",
        "refund_id",
        "request_id",
        "sku",
        "stripe_refund_id",
    }
)


def changes(original: object, edited: object, pointer: str = "") -> Iterator[tuple[str, object, object]]:
    """Every (JSON pointer, before, after) in which two JSON values differ; what is absent is None."""
    if isinstance(original, Mapping) and isinstance(edited, Mapping):
        for name in sorted(original.keys() | edited.keys()):
            step = f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}"
            yield from changes(original.get(name, _NOTHING), edited.get(name, _NOTHING), step)
    elif isinstance(original, list) and isinstance(edited, list) and len(original) == len(edited):
        for position, (before, after) in enumerate(zip(original, edited, strict=True)):
            yield from changes(before, after, f"{pointer}/{position}")
    elif original is _NOTHING or edited is _NOTHING or not _same(original, edited):
        yield pointer, None if original is _NOTHING else original, None if edited is _NOTHING else edited


def restored(original: Any, edited: Any) -> Any:  # Any: JSON
    """`edited` with what was not shown of `original`, wherever it was left as it was shown."""
    return _restored(original, redacted(original), edited)


def _restored(original: Any, shown: Any, edited: Any) -> Any:  # Any: JSON
    if isinstance(shown, Mapping) and isinstance(edited, Mapping):
        kept = {name: (original[name], shown[name]) for name in edited if name in shown and name in original}
        return {name: _restored(*kept[name], value) if name in kept else value for name, value in edited.items()}
    if isinstance(shown, list) and isinstance(edited, list) and len(shown) == len(edited):
        return [_restored(*three) for three in zip(original, shown, edited, strict=True)]
    return original if isinstance(edited, str) and edited == shown else edited


def refuse_type(type_: str, service: str) -> None:
    """Check that messages of this type may be edited for `service` at all.

    Raises:
        Refused: 422 `not_editable`.
    """
    entry = CATALOG.get(type_)
    if entry is None or service not in entry.hearers:
        raise Refused("not_editable", f"{service} hears no messages of type {type_}.", status=422)
    if type_.startswith(PREFIX):
        raise Refused("not_editable", "What Stripe said is not ours to change.", status=422)


def refuse_locked(original: Json | None, edited: Json, *, message_id: str, type_: str) -> list[Json]:
    """The changes from `original` (None: nobody can read it) to `edited`, as {pointer, from, to}.

    Raises:
        Refused: 422 `locked_field`, with a pointer for each field that is not an operator's to change, or
            `nothing_changed`.
    """
    locked = [
        FieldError(f"/{name}", f"must stay {wanted}", "locked_field")
        for name, wanted in (("id", str(wire_id(message_id))), ("type", type_))
        if edited.get(name) != wanted
    ]
    found = list(changes(original, edited)) if original is not None else []
    locked += [
        FieldError(pointer, "is part of the envelope or speaks of money", "locked_field")
        for pointer, _, _ in found
        if pointer not in ("/id", "/type") and (_in_envelope(pointer) or _of_money(original, edited, pointer))
    ]
    locked += [
        FieldError(pointer, "is secret, and stays as it is", "locked_field")
        for pointer, before, after in (found if original is not None else changes({}, edited))
        if _is_secret(pointer, before) or _is_secret(pointer, after)
    ]
    if original is None and _speaks_of_money(CATALOG[type_].model.model_json_schema()):
        locked.append(
            FieldError("/data", "speaks of money, and the original cannot be read to compare", "locked_field")
        )
    if locked:
        shown = [replace(one, pointer=redacted_text(one.pointer)) for one in locked]
        raise Refused("locked_field", "Some fields are not an operator's to change.", status=422, errors=shown)
    if original is not None and not found:
        raise Refused("nothing_changed", "The copy is the original; replay it instead.", status=422)
    return [{"pointer": pointer, "from": before, "to": after} for pointer, before, after in found]


def written(edited: Json) -> bytes:
    """The body of the copy."""
    return json.dumps(edited, separators=(",", ":"), ensure_ascii=False).encode()


def _same(one: object, other: object) -> bool:
    return type(one) is type(other) and one == other  # 1 is not true


def _is_secret(pointer: str, value: object) -> bool:
    """Whether anything in a value that stands at `pointer` is not shown, or stands for what is not."""
    named = {pointer.rpartition("/")[2]: value}
    return redacted(named) != named or REDACTED in pointer or REDACTED in json.dumps(value, ensure_ascii=False)


def _in_envelope(pointer: str) -> bool:
    return pointer != "/data" and not pointer.startswith("/data/")


def _of_money(original: Json | None, edited: Json, pointer: str) -> bool:
    """Whether the change at `pointer` touches an amount, or whose it is or what it is for, also inside what was
    replaced whole."""
    if any(_is_money(step) for step in pointer.split("/")):
        return True
    return any(_speaks_of_money(_at(side, pointer)) for side in (original, edited))


def _at(value: Any, pointer: str) -> Any:  # Any: a walk through JSON
    for step in pointer.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(value, list):
            value = value[int(name)]
        elif isinstance(value, Mapping):
            value = value.get(name)
    return value


def _speaks_of_money(value: object) -> bool:
    match value:
        case Mapping():
            return any(_is_money(str(name)) or _speaks_of_money(inner) for name, inner in value.items())
        case list():
            return any(_speaks_of_money(item) for item in value)
        case _:
            return False


def _is_money(name: str) -> bool:
    return name in _OWNED or name.endswith(("_minor", "amount")) or name.startswith("amount")
