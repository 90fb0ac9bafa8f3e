"""The one place with HTTP status codes: every family's exceptions to a status and a body.

ServiceError
 |- BadRequest        caller  the request's form or content
 |- NotFound          caller  no such model, version, job or device
 |- TooLarge          caller  body over the limit
 |- AddressInUse      caller  another program listens there
 `- DeadlineExceeded  retry   the request's own timeout passed before its work began
"""

from __future__ import annotations

from typing import ClassVar


class ServiceError(Exception):
    code: ClassVar[str] = "service_error"
    disposition: ClassVar[str] = "fatal"


class BadRequest(ServiceError):
    code = "bad_request"
    disposition = "caller"


class NotFound(ServiceError):
    code = "not_found"
    disposition = "caller"


class TooLarge(ServiceError):
    code = "too_large"
    disposition = "caller"


class AddressInUse(ServiceError):
    code = "address_in_use"
    disposition = "caller"


class DeadlineExceeded(ServiceError):
    code = "deadline_exceeded"
    disposition = "retry"


# A code that is named here has a status of its own; all others go by disposition.
_STATUS_BY_CODE = {
    "not_found": 404,
    "unknown_device": 404,
    "cannot_drain": 409,
    "too_large": 413,
    "busy": 429,
    "backpressure": 429,
    "deadline_exceeded": 504,
    "unsupported": 501,
    "unsupported_op": 400,
}
_STATUS_BY_DISPOSITION = {"caller": 400, "retry": 503, "migrate": 503, "fatal": 500}
RETRY_AFTER_S = 1


def status_of(error: Exception) -> int:
    """The HTTP status for an exception of any of haltere's families."""
    by_code = _STATUS_BY_CODE.get(getattr(error, "code", ""))
    return by_code or _STATUS_BY_DISPOSITION.get(getattr(error, "disposition", "fatal"), 500)


def headers_of(status: int) -> dict[str, str]:
    return {"Retry-After": str(RETRY_AFTER_S)} if status in (429, 503) else {}
