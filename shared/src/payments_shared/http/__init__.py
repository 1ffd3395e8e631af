"""HTTP doors: problems, request ids, limits, health and metrics, the same in every service."""

from payments_shared.http.app import Check, internal_app, public_app
from payments_shared.http.callers import Network, caller_of
from payments_shared.http.origins import parse_origin, share
from payments_shared.http.problems import SECURITY_HEADERS, problem_response
from payments_shared.http.reading import read_bytes, read_json
from payments_shared.http.serving import Server, serve

__all__ = [
    "SECURITY_HEADERS",
    "Check",
    "Network",
    "Server",
    "caller_of",
    "internal_app",
    "parse_origin",
    "problem_response",
    "public_app",
    "read_bytes",
    "read_json",
    "serve",
    "share",
]
