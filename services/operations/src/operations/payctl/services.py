"""`payctl ready | metrics`: what a service says of itself on its internal port. Nobody needs a token for it."""

import http.client
import sys
import urllib.error
import urllib.request
from typing import Annotated, Final

import typer

from operations.payctl.app import by_service, fail

Service = Annotated[str, typer.Argument(help="Name of a service, such as checkout.")]
ServiceUrls = Annotated[
    str, typer.Option(envvar="PAYMENTS_SERVICE_URLS", help="Internal URLs of the services: checkout=http://...,...")
]
TIMEOUT_SECONDS: Final = 10.0


def ready(service: Service, urls: ServiceUrls) -> None:
    """Whether a service is ready, and which of its checks fail. Exit status 1 when it is not, 2 when it is silent."""
    status, text = _asked(service, urls, "/readyz")
    sys.stdout.write(text.strip() + "\n")
    raise typer.Exit(0 if status == 200 else 1)


def metrics(
    service: Service,
    urls: ServiceUrls,
    *,
    only: Annotated[list[str] | None, typer.Option(help="Only names that begin so; may be repeated.")] = None,
) -> None:
    """The figures of a service, a line each. Exit status 1 when there is none of that name, 2 when it is silent."""
    status, text = _asked(service, urls, "/metrics")
    if status != 200:
        fail(f"{service} answered {status}", 2)
    wanted = tuple(only) if only else ("",)
    lines = [line for line in text.splitlines() if line.startswith(wanted) and not line.startswith("#")]
    if not lines:
        fail(f"{service} has no figure whose name begins with {', '.join(wanted)}", 1)
    sys.stdout.write("\n".join(lines) + "\n")


def _asked(service: str, urls: str, path: str) -> tuple[int, str]:
    known = by_service(urls)
    if service not in known:
        fail(f"{service} is none of {', '.join(sorted(known))}", 2)
    url = known[service]
    try:
        with urllib.request.urlopen(url + path, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 - the operator names it
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        fail(f"{service} cannot be reached at {url}: {error}", 2)
