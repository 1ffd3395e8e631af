"""Messages back to the one queue that failed."""

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from operations.decide import replaying
from operations.model.replays import Replay
from payments_shared.messaging.publisher import Outcome, Outgoing, Publisher
from payments_shared.messaging.topology import RETURN_EXCHANGE

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Replays:
    """Publishes replays: to the failed service's queue and nobody else's."""

    publisher: Publisher

    @property
    def ready(self) -> bool:
        """Whether the broker takes anything at this moment."""
        return self.publisher.ready

    async def send(self, replays: Sequence[Replay]) -> list[Outcome | None]:
        """Publish all and wait for the confirms. None: the message cannot be written at all.

        After an unknown outcome the broker may have the message; the same replay sent again is a twin of it, of which
        the inbox lets one take effect.
        """
        try:
            return [*await self.publisher.publish_many([_outgoing(replay) for replay in replays])]
        except Exception:
            if len(replays) > 1:  # one that cannot be written must not keep the others
                return [outcome for replay in replays for outcome in await self.send([replay])]
            log.exception("replay.not_writable", letter_id=str(replays[0].dead_letter_id))
            return [None]


def _outgoing(replay: Replay) -> Outgoing:
    return Outgoing(
        message_id=replaying.wire_id(replay.message_id),
        type=replay.type,
        exchange=RETURN_EXCHANGE,
        routing_key=replay.queue,
        body=replay.body,
        headers=replaying.clean_headers(replay.headers, replay_id=replay.id, dead_letter=replay.dead_letter_id),
        correlation_id=replay.correlation_id,
    )
