"""`python -m operations`."""

from operations.app import SERVICE, start
from operations.settings import Settings
from payments_shared.process import run
from payments_shared.settings import load_settings

if __name__ == "__main__":
    settings = load_settings(Settings)
    run(SERVICE, lambda process: start(process, settings), settings)
