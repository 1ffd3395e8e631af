"""HTTP doors: problems, request ids, limits, health and metrics, the same in every service."""

from payments_shared.http.api import Api
from payments_shared.http.app import Check, internal_app, public_app, public_reference
from payments_shared.http.callers import Network, address_of, caller_of
from payments_shared.http.origins import parse_origin, share
from payments_shared.http.problems import SECURITY_HEADERS, problem_response
from payments_shared.http.reading import DIGITS, Time, read_bytes, read_json, read_query
from payments_shared.http.serving import KEPT_SECONDS, Server, serve

__all__ = [
    "DIGITS",
    "KEPT_SECONDS",
    "SECURITY_HEADERS",
    "Api",
    "Check",
    "Network",
    "Server",
    "Time",
    "address_of",
    "caller_of",
    "internal_app",
    "parse_origin",
    "problem_response",
    "public_app",
    "public_reference",
    "read_bytes",
    "read_json",
    "read_query",
    "serve",
    "share",
]
