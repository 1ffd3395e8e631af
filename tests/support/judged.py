"""Every request that a deployment's services sent to Stripe in its life, judged by the specification at its end."""

import re

import aiohttp

from payments_shared.stripe_client import STRIPE_VERSION
from sandbox.services.deployment import Deployment
from tests.support.shopping import Json
from tests.support.stripe_spec import validate_request


async def judge_requests(deployment: Deployment) -> None:
    """Only what came from our services, which name the pinned version; a test's own calls do not.

    Raises:
        Departure: a request is not lawful.
    """
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{deployment.stripe_url}/_sim/requests") as answer,
    ):
        journal: list[Json] = (await answer.json())["requests"]
    ours = [sent for sent in journal if sent["version"] is not None]
    assert {sent["version"] for sent in ours} <= {STRIPE_VERSION}
    for sent in ours:
        validate_request(sent["method"], sent["path"], sent["form"])


def kinds(requests: list[Json]) -> set[str]:
    """Method and route of each request."""
    return {f"{sent['method']} {re.sub('/(cs|pi|seti|re|pm|du)_[^/]+', '/{id}', sent['path'])}" for sent in requests}
