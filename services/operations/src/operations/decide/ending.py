"""How what another service was asked for has ended. Pure."""

from typing import Final

from operations.model.trail import Ended
from payments_shared.errors import PaymentsError

DONE: Final = Ended("done")
LOST: Final = "answer_lost"


def of_error(error: PaymentsError) -> Ended:
    """Without the answer nobody knows; all else was not done: the service refused it, or never heard of it."""
    return Ended("unknown" if error.code == LOST else "refused", error.code)
