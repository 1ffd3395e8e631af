"""Errors as `application/problem+json` (RFC 9457), with a stable `code`."""

import json
from collections.abc import Mapping
from http import HTTPStatus

from aiohttp import web

from payments_shared.errors import PaymentsError, Poison, Refused, Retryable

CONTENT_TYPE = "application/problem+json"
SECURITY_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def problem_response(
    status: int,
    code: str,
    detail: str,
    *,
    request_id: str | None = None,
    headers: Mapping[str, str] | None = None,
    extra: Mapping[str, object] | None = None,
) -> web.Response:
    """One problem document. `extra` adds members such as `available` or `errors`."""
    body: dict[str, object] = {
        "type": f"urn:payments:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
    }
    if request_id:
        body["request_id"] = request_id
    body.update(extra or {})
    return web.Response(
        status=status,
        body=json.dumps(body).encode(),
        content_type=CONTENT_TYPE,
        headers={**SECURITY_HEADERS, **(headers or {})},
    )


def problem_of(error: PaymentsError, request_id: str) -> web.Response:
    """The answer for one of our own errors."""
    match error:
        case Refused():
            extra = dict(error.extra)
            if error.errors:
                extra["errors"] = [{"pointer": e.pointer, "detail": e.detail, "code": e.code} for e in error.errors]
            headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'} if error.status == 401 else None
            if error.code == "idempotency_in_flight":
                headers = {"Retry-After": "1"}
            elif (seconds := error.extra.get("retry_after_seconds")) is not None:
                headers = {"Retry-After": str(seconds)}
            return problem_response(
                error.status, error.code, error.detail, request_id=request_id, extra=extra, headers=headers
            )
        case Retryable():
            retry_after = {"Retry-After": str(error.retry_after_seconds)}
            return problem_response(503, error.code, error.detail, request_id=request_id, headers=retry_after)
        case Poison():
            return problem_response(500, error.code, "The request could not be completed.", request_id=request_id)
        case _:
            return problem_response(500, "internal_error", "The request could not be completed.", request_id=request_id)


def problem_of_http(error: web.HTTPException, request_id: str) -> web.Response:
    """The answer for aiohttp's own refusals: 404, 405 (with `Allow`), 413 and their like."""
    code = HTTPStatus(error.status).name.lower()
    kept = {name: error.headers[name] for name in ("Allow", "Retry-After") if name in error.headers}
    detail = HTTPStatus(error.status).description or HTTPStatus(error.status).phrase
    return problem_response(error.status, code, detail, request_id=request_id, headers=kept)
