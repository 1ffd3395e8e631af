"""`python -m sandbox.frontdoor`."""

from aiohttp import web

from sandbox.frontdoor.app import application
from sandbox.frontdoor.settings import Settings

if __name__ == "__main__":
    settings = Settings()
    web.run_app(
        application(settings),
        host=settings.host,
        port=settings.port,
        print=None,
        access_log=None,
        auto_decompress=False,  # bytes go through untouched, whatever their coding claims to be
    )
