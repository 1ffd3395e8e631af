"""A channel that ends in good order under a question raises a bare Exception at whoever asked."""

import pytest

from payments_shared.messaging.subscription import _or_else


def test_a_question_to_a_channel_that_ended_without_a_reason_ends_no_service() -> None:
    """It ended the whole process: a queue rested at the moment when its connection was given up."""
    lost: list[bool] = []

    with _or_else(lambda: lost.append(True)):
        end(Exception())

    assert lost == [True]


@pytest.mark.parametrize("error", [ValueError("mine"), LookupError("mine"), Exception("with a reason of its own")])
def test_what_says_anything_is_not_let_pass(error: Exception) -> None:
    with pytest.raises(type(error)), _or_else():
        end(error)


def end(error: Exception) -> None:
    """As aiormq ends whoever waits."""
    raise error
