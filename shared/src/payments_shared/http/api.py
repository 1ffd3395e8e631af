"""What a service answers over HTTP, whole: its own operations, and those that every service has on its second port."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from typing_extensions import TypedDict

from payments_shared import metrics
from payments_shared.http.operations import ANYONE, Answer, Operation, Section


class Alive(TypedDict):
    """The process runs."""

    status: Literal["ok"]


class Readiness(TypedDict):
    """`fail`: guests are turned away. `degraded`: something behind the service fails, and guests are served."""

    status: Literal["ok", "degraded", "fail"]
    failing: dict[str, str]


HEALTHZ: Final = Operation(
    method="GET",
    path="/healthz",
    id="getHealth",
    summary="Tell that the process runs.",
    callers=(ANYONE,),
    answers=(Answer(200, "It does.", Alive),),
)
READYZ: Final = Operation(
    method="GET",
    path="/readyz",
    id="getReadiness",
    summary="Tell whether the service can do its work, and what fails.",
    callers=(ANYONE,),
    answers=(Answer(200, "Guests are served.", Readiness), Answer(503, "Guests are turned away.", Readiness)),
)
METRICS: Final = Operation(
    method="GET",
    path="/metrics",
    id="getMetrics",
    summary="Show everything that is measured.",
    callers=(ANYONE,),
    answers=(Answer(200, "Prometheus's text format.", str, media_type=metrics.CONTENT_TYPE.partition(";")[0]),),
)
DOCUMENT: Final = Operation(
    method="GET",
    path="/openapi.json",
    id="getDocument",
    summary="Get this document.",
    callers=(ANYONE,),
    answers=(Answer(200, "OpenAPI 3.1.", dict[str, object]),),
)
REFERENCE: Final = Operation(
    method="GET",
    path="/reference",
    id="getReference",
    summary="Read this document as a page.",
    callers=(ANYONE,),
    answers=(Answer(200, "The page.", str, media_type="text/html"),),
)
PUBLIC_DOCUMENT: Final = Operation(
    method="GET",
    path="/api/payments/openapi.json",
    id="getPublicDocument",
    summary="Get the document of what a front end may call.",
    callers=(ANYONE,),
    answers=DOCUMENT.answers,
)
PUBLIC_REFERENCE: Final = Operation(
    method="GET",
    path="/api/payments/reference",
    id="getPublicReference",
    summary="Read it as a page.",
    callers=(ANYONE,),
    answers=REFERENCE.answers,
)
ABOUT: Final = Section("about", "What the service says about itself.", (HEALTHZ, READYZ, METRICS, DOCUMENT, REFERENCE))
PUBLIC_ABOUT: Final = Section("reference", "What the API says about itself.", (PUBLIC_DOCUMENT, PUBLIC_REFERENCE))


@dataclass(frozen=True, slots=True)
class Api:
    """Everything that a service answers over HTTP. `public` is what the front door routes, `internal` what its second
    port has beside what every service has there."""

    service: str
    summary: str
    description: str = ""
    internal: tuple[Section, ...] = ()
    public: tuple[Section, ...] = ()

    @property
    def inside(self) -> tuple[Section, ...]:
        """All sections of the second port."""
        return (*self.internal, ABOUT)

    def operations(self) -> Iterable[Operation]:
        """All operations."""
        return (operation for section in (*self.public, *self.inside) for operation in section.operations)
