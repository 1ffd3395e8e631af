"""`python -m sandbox.mailbox`."""

from aiohttp import web

from sandbox.mailbox.app import application
from sandbox.mailbox.settings import Settings

if __name__ == "__main__":
    settings = Settings()
    web.run_app(application(settings), host=settings.host, port=settings.http_port, print=None, access_log=None)
