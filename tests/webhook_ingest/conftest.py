"""What the tests of the webhook's door share."""

import pytest

from tests.support.shopping import Shopper


@pytest.fixture
def secret(shopper: Shopper) -> str:
    """The signing secret of the deployment."""
    return shopper.deployment.secrets["webhook"]
