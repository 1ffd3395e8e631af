"""`python -m sandbox.compose.payctl ...`: payctl with a fresh token of a demo operator. Elsewhere people bring theirs."""

import os
import tempfile
from pathlib import Path

from operations import payctl
from sandbox.compose.settings import Operator
from sandbox.services.keys import mint

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        token_file = Path(scratch) / "operator.token"
        token_file.touch(mode=0o600)
        token_file.write_text(mint(Operator().key_file, "demo-operator", "operator", "support", "admin", seconds=900))
        os.environ["PAYMENTS_TOKEN_FILE"] = str(token_file)
        payctl.main()
