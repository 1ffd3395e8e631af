"""Payment intents over saved methods, as Stripe shows them."""

from dataclasses import dataclass

from checkout.model.facts import IntentAuthorized, IntentDeclined, IntentFetched, IntentSucceeded


@dataclass(frozen=True, slots=True)
class Attempt:
    """A payment intent at one moment: the fact that it asserts, and what a front end needs to go on with it.

    `action_url` is a page of the buyer's bank, where the intent waits for him and Stripe names one.
    """

    payment_intent: str
    status: str
    fact: IntentSucceeded | IntentAuthorized | IntentDeclined | IntentFetched
    client_secret: str | None
    action_url: str | None

    @property
    def asks_for_owner(self) -> bool:
        """The bank declined it only since nobody was there to be asked."""
        return isinstance(self.fact, IntentDeclined) and self.fact.asks_for_owner
