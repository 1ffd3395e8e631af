"""`python -m refunds`."""

from payments_shared.process import run
from payments_shared.settings import load_settings
from refunds.app import SERVICE, start
from refunds.settings import Settings

if __name__ == "__main__":
    settings = load_settings(Settings)
    run(SERVICE, lambda process: start(process, settings), settings)
