"""`python -m payments_shared.contracts FOLDER`: write the contracts' documents, or refuse and say what would break."""

import sys
from pathlib import Path

from payments_shared.contracts.documents import Incompatible, write


def main(arguments: list[str]) -> int:
    """The exit status: 0 written or current, 1 refused, 2 wrong usage."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m payments_shared.contracts FOLDER\n")
        return 2
    try:
        changed = write(Path(arguments[0]))
    except Incompatible as error:
        sys.stderr.write(
            f"{error}\n\nThese changes would break whoever reads these messages. Keep the type as it is and add a new "
            "one with the next version, or make the addition optional.\n"
        )
        return 1
    sys.stdout.write("".join(f"wrote {name}\n" for name in changed) or "all documents are current\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
