"""The drill takes no predicate for held that looked at nothing."""

import pytest

from operations.audit import Finding, Report, Verdict, predicates
from sandbox.drill.verdict import MAY_LOOK_AT_NOTHING, NOT_RUN, blind


def report(**of: tuple[Verdict, int]) -> Report:
    """Every predicate, each having looked at something, but for those that are named."""
    usual = dict.fromkeys(NOT_RUN, (Verdict.NOT_RUN, 0)) | of
    found = []
    for one in predicates():
        verdict, count = usual.get(one.name[:3], (Verdict.HOLDS, 1))
        found.append(Finding(one, verdict, count, 0, ()))
    return Report(tuple(found))


def test_where_every_predicate_looked_at_something_none_is_blind() -> None:
    assert blind(report()) == []


@pytest.mark.parametrize("name", sorted({one.name[:3] for one in predicates()} - {*MAY_LOOK_AT_NOTHING, *NOT_RUN}))
def test_one_that_looked_at_nothing_is_named(name: str) -> None:
    assert [one[:3] for one in blind(report(**{name: (Verdict.HOLDS, 0)}))] == [name]


def test_one_that_was_not_run_though_stripe_told_the_truth_is_named() -> None:
    assert [one[:3] for one in blind(report(I46=(Verdict.NOT_RUN, 0)))] == ["I46"]


def test_only_those_are_excused_that_exist_and_cannot_look_at_anything() -> None:
    assert {*MAY_LOOK_AT_NOTHING, *NOT_RUN} <= {one.name[:3] for one in predicates()}
    assert {one.name[:3] for one in predicates() if one.needs == "ledger"} == set(NOT_RUN)
    assert blind(report(I32=(Verdict.HOLDS, 0))) == []
