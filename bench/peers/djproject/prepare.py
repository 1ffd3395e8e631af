"""`python -m djproject.prepare ENDPOINT WEBHOOK_SECRET`: the tables, and one endpoint whose account is known.

Were the account not known, dj-stripe would ask Stripe for it with every event.
"""

import sys

import django  # type: ignore[import-not-found] # only in the peer's environment


def main() -> None:
    """Make the tables and add the rows."""
    django.setup()
    from django.core.management import call_command  # type: ignore[import-not-found]
    from djstripe.models import Account, APIKey, WebhookEndpoint  # type: ignore[import-not-found]
    from djstripe.settings import djstripe_settings  # type: ignore[import-not-found]

    call_command("migrate", run_syncdb=True, verbosity=0)
    account = Account.objects.create(id="acct_bench", livemode=False, stripe_data={"id": "acct_bench"})
    key = djstripe_settings.STRIPE_SECRET_KEY
    APIKey.objects.create(type="secret", secret=key, livemode=False, djstripe_owner_account=account)
    WebhookEndpoint.objects.create(
        id="we_bench",
        livemode=False,
        djstripe_owner_account=account,
        djstripe_uuid=sys.argv[1],
        secret=sys.argv[2],
        enabled_events=["*"],
        url="https://shop.example/stripe/webhook/",
        status="enabled",
        stripe_data={"id": "we_bench"},
    )


if __name__ == "__main__":
    main()
