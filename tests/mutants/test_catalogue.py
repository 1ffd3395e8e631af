"""The mistakes of the catalogue can be made, and the tests that must see them exist."""

import ast

import pytest

from tests.mutants.catalogue import MUTANTS, ROOT, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_a_mutant_has_its_place_and_its_test(mutant: Mutant) -> None:
    damaged = mutant.applied_to((ROOT / mutant.file).read_text(encoding="utf-8"))
    where, _, name = mutant.test.partition("::")
    tree = ast.parse((ROOT / where).read_text(encoding="utf-8"))

    if mutant.file.endswith(".py"):
        ast.parse(damaged)
    functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert name in functions


def test_the_twelve_are_there_in_their_order() -> None:
    assert [mutant.name for mutant in MUTANTS] == [f"M{number}" for number in range(1, len(MUTANTS) + 1)]
    assert len(MUTANTS) >= 12
