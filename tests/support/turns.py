"""Which files of a whole run come when, and which go to one worker together.

Who takes long comes first, so that no worker is left alone with it at the end; who needs no servers comes last and
fills up whatever time is left. Who needs the machine for itself waits until every other worker has ended.
"""

from itertools import chain
from typing import Final

import pytest
from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

# Files that strike the same deployment, which is started once for each of these groups.
TOGETHER: Final = (
    (
        "tests/faults/test_kills.py",
        "tests/faults/test_volume.py",
        "tests/faults/test_outages.py",
        "tests/faults/test_alerts.py",
        "tests/faults/test_rush.py",
        "tests/faults/test_late_money.py",
    ),
    (
        "tests/faults/test_crash_points.py",
        "tests/faults/test_frozen_database.py",
        "tests/faults/test_unknown_outcomes.py",
    ),
)
# Files whose load takes the better part of the machine: beside another worker they would measure that one.
ALONE: Final = ("tests/faults/test_rolling.py",)
LONG: Final = (
    *chain.from_iterable(TOGETHER),
    "tests/faults/",
    "tests/operations/test_crashes.py",
    "tests/checkout/test_one_click_crashes.py",
    "tests/checkout/test_recovery.py",
    "tests/checkout/test_sweeps.py",
    "tests/contracts/test_schemathesis.py",
    "tests/deploy/",
)

_GROUP: Final = {file: group[0] for group in (*TOGETHER, ALONE) for file in group}


class Turns(LoadFileScheduling):  # type: ignore[misc] # its base has no types
    """A file's tests go to one worker, and so do those of a group of files."""

    def remove_node(self, node: WorkerController) -> str | None:
        """As the base's. The last worker may go on with what waited until it was alone."""
        crashed: str | None = super().remove_node(node)
        for left in self.nodes:
            self._reschedule(left)
        return crashed

    def _reschedule(self, node: WorkerController) -> None:
        if list(self.workqueue) != [ALONE[0]] or node.shutting_down:
            super()._reschedule(node)
        elif len(self.nodes) == 1:
            self._assign_work_unit(node)
        elif any(other is not node and not other.shutting_down for other in self.nodes):
            node.shutdown()  # when it has done what it was given

    def _assign_work_unit(self, node: WorkerController) -> None:
        if ALONE[0] in self.workqueue:
            self.workqueue.move_to_end(ALONE[0])
        super()._assign_work_unit(node)

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return _GROUP.get(file, file)


def turn_of(item: pytest.Item) -> tuple[int, bool]:
    """Where a test's file stands: among the long ones, or after them with those that need servers first."""
    place = next((place for place, long in enumerate(LONG) if item.nodeid.startswith(long)), len(LONG))
    return place, "servers" not in getattr(item, "fixturenames", ())
