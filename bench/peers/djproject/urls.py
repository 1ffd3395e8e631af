"""Where dj-stripe listens."""

from django.urls import include, path  # type: ignore[import-not-found] # only in the peer's environment

urlpatterns = [path("stripe/", include("djstripe.urls", namespace="djstripe"))]
