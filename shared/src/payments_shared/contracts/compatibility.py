"""Which changes of a message's JSON Schema would break somebody who reads it.

Both directions count. While a release rolls out, old readers get new messages; and messages said long ago wait in
retry queues and among the dead letters for new readers. So a field may be added, if it is optional, and its words
may change. Everything else needs a new type, such as `order.paid.v2`, said beside the old one until nobody hears that.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

Schema = Mapping[str, Any]  # Any: JSON Schema
_CONSTRAINTS: Final = (
    "const",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "maxItems",
    "maxLength",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "pattern",
)


@dataclass(frozen=True, slots=True)
class Break:
    """One change that breaks readers. `where` is the field's path, such as `/lines/*/sku`."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where or '/'} {self.what}"


def breaks(before: Schema, after: Schema) -> list[Break]:
    """Every change from `before` to `after` that breaks readers, in the order of the fields."""
    return list(_compared("", before, after, before, after))


def _compared(where: str, before: Schema, after: Schema, old_root: Schema, new_root: Schema) -> Iterator[Break]:
    old, new = _alternatives(before, old_root), _alternatives(after, new_root)
    if old.keys() != new.keys():
        yield Break(where, f"changed its type from {' | '.join(sorted(old))} to {' | '.join(sorted(new))}")
        return
    for kind, was in old.items():
        now = new[kind]
        for keyword in _CONSTRAINTS:
            if was.get(keyword) != now.get(keyword):
                yield Break(where, f"changed {keyword} from {was.get(keyword)!r} to {now.get(keyword)!r}")
        yield from _fields(where, was, now, old_root, new_root)
        for inside in ("items", "additionalProperties"):
            if isinstance(was.get(inside), Mapping) and isinstance(now.get(inside), Mapping):
                yield from _compared(f"{where}/*", was[inside], now[inside], old_root, new_root)
            elif was.get(inside) != now.get(inside):
                yield Break(where, f"changed {inside} from {was.get(inside)!r} to {now.get(inside)!r}")


def _fields(where: str, was: Schema, now: Schema, old_root: Schema, new_root: Schema) -> Iterator[Break]:
    old, new = was.get("properties", {}), now.get("properties", {})
    was_required, is_required = set(was.get("required", ())), set(now.get("required", ()))
    for name, field in old.items():
        path = f"{where}/{name}"
        if name not in new:
            yield Break(path, "was removed; a renamed field is a removed one")
            continue
        if name in is_required - was_required:
            yield Break(path, "became required; messages that wait from before may lack it")
        if name in was_required - is_required:
            yield Break(path, "is no longer required; readers from before refuse messages without it")
        yield from _compared(path, field, new[name], old_root, new_root)
    for name in sorted(is_required - old.keys()):
        yield Break(f"{where}/{name}", "is new and required; messages that wait from before lack it")


def _alternatives(schema: Schema, root: Schema) -> dict[str, Schema]:
    """The schema's alternatives by JSON type; a field that may be null has two."""
    schema = _resolved(schema, root)
    return {
        str(resolved.get("type", "anything")): resolved
        for resolved in (_resolved(one, root) for one in schema.get("anyOf", [schema]))
    }


def _resolved(schema: Schema, root: Schema) -> Schema:
    while "$ref" in schema:
        target: Any = root  # Any: a walk through JSON
        for part in str(schema["$ref"]).removeprefix("#/").split("/"):
            target = target[part]
        schema = target
    return schema
