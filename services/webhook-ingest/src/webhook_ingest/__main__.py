"""`python -m webhook_ingest`."""

from payments_shared.process import run
from payments_shared.settings import load_settings
from webhook_ingest.app import SERVICE, start
from webhook_ingest.settings import Settings

if __name__ == "__main__":
    settings = load_settings(Settings)
    run(SERVICE, lambda process: start(process, settings), settings)
