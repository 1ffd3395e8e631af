"""`python -m payments_shared.probe [URL]`: exit status 0 when `URL` answers 200. For containers' health checks.

Without a URL it asks this container's own service whether it is ready. Only the standard library is imported: the
probe runs every few seconds in every container.
"""

import os
import sys
import urllib.error
import urllib.request

TIMEOUT_SECONDS = 4.0


def main(arguments: list[str]) -> int:
    """The exit status; what was wrong goes to standard error, where `docker inspect` shows it."""
    url = arguments[0] if arguments else f"http://127.0.0.1:{os.environ['PAYMENTS_INTERNAL_PORT']}/readyz"
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 - our own loopback
            return 0 if answer.status == 200 else 1
    except urllib.error.HTTPError as error:
        sys.stderr.write(f"{error.status}: {error.read(2000).decode(errors='replace')}\n")
    except OSError as error:
        sys.stderr.write(f"{error}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
