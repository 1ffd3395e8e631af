"""`python -m tests.faults.proxy HOST PORT`: one proxy, until standard input ends."""

import asyncio
import sys

from tests.faults.proxy.relaying import serve

asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
