"""Two runs on one machine draw ports at the same time, and programs listen at theirs only seconds later."""

import subprocess
import sys

from sandbox.services.children import free_ports

DRAWN_ELSEWHERE = """
import random, sys
from sandbox.services.children import free_ports
drawn, draw = [int(sys.argv[1])], random.randrange
random.randrange = lambda *span: drawn.pop() if drawn else draw(*span)
print(free_ports(1)[0], len(drawn))
"""


def test_a_port_that_was_drawn_is_drawn_by_no_other_process() -> None:
    (port,) = free_ports(1)

    done = subprocess.run(
        [sys.executable, "-c", DRAWN_ELSEWHERE, str(port)], capture_output=True, text=True, check=True, timeout=30
    )

    other, left = done.stdout.split()
    assert (int(other) != port, int(left)) == (True, 0)


def test_ports_that_are_drawn_together_differ() -> None:
    first, second = free_ports(40), free_ports(40)

    assert len({*first, *second}) == 80
