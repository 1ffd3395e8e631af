"""Settings of operations."""

from pydantic import Field

from payments_shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """Times in seconds.

    `replay_lease_seconds`: how long a replay may take before its dead letter is open again; longer than all retry
    tiers together, in which a replay may wait.
    """

    measure_seconds: float = Field(default=5.0, gt=0)
    replay_lease_seconds: float = Field(default=900.0, gt=0)
