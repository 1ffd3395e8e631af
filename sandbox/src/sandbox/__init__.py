"""The world outside the services: servers, Stripe simulator, shop, mailbox, demo."""
