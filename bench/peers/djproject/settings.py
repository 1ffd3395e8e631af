"""Django's settings: what dj-stripe's documentation asks for, production's defaults, connections that stay open."""

import os

import stripe

SECRET_KEY = os.environ["PEER_SECRET"]
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "djproject.urls"
USE_TZ = True
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "djstripe"]
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]  # says how long an answer is
# Tables straight from the models: the way through a hundred migrations takes a minute and ends at the same tables.
MIGRATION_MODULES = {"auth": None, "contenttypes": None, "djstripe": None}
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": os.environ["PEER_DATABASE"],
        "USER": os.environ["PEER_USER"],
        "PASSWORD": os.environ["PEER_PASSWORD"],
        "HOST": "127.0.0.1",
        "PORT": os.environ["PEER_PORT"],
        "CONN_MAX_AGE": None,
    }
}
LOGGING_CONFIG = None
STRIPE_LIVE_MODE = False
STRIPE_TEST_SECRET_KEY = "sk_test_" + "0" * 24
DJSTRIPE_FOREIGN_KEY_TO_FIELD = "id"

stripe.api_base = os.environ["PEER_STRIPE_URL"]
