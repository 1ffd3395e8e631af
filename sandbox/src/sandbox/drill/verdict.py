"""Which predicates of the audit the drill gave something to look at. One that looked at nothing proves nothing."""

from collections.abc import Mapping
from typing import Final

from operations.audit import Report as Found
from operations.audit import Verdict

MAY_LOOK_AT_NOTHING: Final[Mapping[str, str]] = {
    "I32": "a key is unfinished only while its request is under way, and at rest none is",
}
NOT_RUN: Final[Mapping[str, str]] = dict.fromkeys(("I17", "I18", "I19"), "there is no ledger")


def blind(found: Found) -> list[str]:
    """Predicates that looked at nothing, or were not run, and should have been."""
    return [
        finding.predicate.name
        for finding in found.findings
        if (finding.verdict is Verdict.NOT_RUN and finding.predicate.number not in NOT_RUN)
        or (
            finding.verdict is not Verdict.NOT_RUN
            and not finding.examined
            and finding.predicate.number not in MAY_LOOK_AT_NOTHING
        )
    ]


def excused() -> list[str]:
    """In words, which may, and why."""
    return [
        *(f"{name} may look at nothing: {why}" for name, why in MAY_LOOK_AT_NOTHING.items()),
        f"{', '.join(NOT_RUN)} are not run: {NOT_RUN['I17']}",
    ]
