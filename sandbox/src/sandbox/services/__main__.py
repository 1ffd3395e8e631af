"""`python -m sandbox.services`: start the servers, print how to use them, stay until Ctrl-C."""

import argparse
import shlex
import signal
import sys

from sandbox.services.resolver import VARIABLES, ServersUnavailable, start_servers


def main() -> None:
    """Run until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--durable", action="store_true", help="survive a power cut: fsync and full page writes on")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with start_servers(durable=arguments.durable, say=lambda line: print(line, file=sys.stderr)) as servers:
            urls = (servers.admin_dsn, servers.amqp_url, servers.management_url)
            for name, value in zip(VARIABLES, urls, strict=True):
                print(f"export {name}={shlex.quote(value)}", flush=True)
            signal.pause()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
    except ServersUnavailable as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
