"""`python -m sandbox.identity`."""

from aiohttp import web

from sandbox.identity.app import application
from sandbox.identity.settings import Settings

if __name__ == "__main__":
    settings = Settings()
    web.run_app(application(settings), host=settings.host, port=settings.port, print=None, access_log=None)
