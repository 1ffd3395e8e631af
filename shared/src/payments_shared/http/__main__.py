"""`python -m payments_shared.http FOLDER`: write the OpenAPI document of each service."""

import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from payments_shared.contracts.catalog import SERVICES, schema_name
from payments_shared.http.api import Api
from payments_shared.http.openapi import as_text, document
from payments_shared.writing import put


def apis() -> Mapping[str, Api]:
    """What each service answers, by its name: `API` of its `routes`, or of their `api` where they are a folder."""
    found = {}
    for service in SERVICES:
        routes = import_module(f"{schema_name(service)}.routes")
        folder = hasattr(routes, "__path__")
        found[service] = (import_module(f"{routes.__name__}.api") if folder else routes).API
    return found


def documents() -> Mapping[str, str]:
    """The text of each document by the name of its file."""
    return {f"{service}.json": as_text(document(api)) for service, api in apis().items()}


def main(arguments: list[str]) -> int:
    """The exit status: 0 written or current, 2 wrong usage."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m payments_shared.http FOLDER\n")
        return 2
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    changed = [name for name, text in documents().items() if put(folder / name, text)]
    sys.stdout.write("".join(f"wrote {name}\n" for name in changed) or "all documents are current\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
