"""What operations hears: everything, for the timeline."""

from operations.handlers.keeping import Keeping
from payments_shared.contracts.catalog import heard_by
from payments_shared.contracts.dead_letter import DeadLetterResolved
from payments_shared.messaging import Binding
from payments_shared.messaging.binding import Kind


def bindings(keeping: Keeping) -> tuple[Binding, ...]:
    """Every type of the catalogue → the timeline; resolutions also close their dead letters."""
    return tuple(
        Binding(
            entry.name,
            entry.model,
            Kind.DECIDES,
            keeping.resolved if entry.model is DeadLetterResolved else keeping.remember,
        )
        for entry in heard_by("operations")
    )
