"""Faults of a request, in the JSON form that OpenAI's clients know."""

from typing import Any

from pydantic import ValidationError


class RequestError(Exception):
    """A request that is not answered, with its HTTP status. `param` names the key at fault."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        code: str | None = None,
        param: str | None = None,
        kind: str = "invalid_request_error",
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers or {}
        self.body: dict[str, Any] = {
            "error": {"message": message, "type": kind, "param": param, "code": code}
        }


def of_validation(error: ValidationError) -> RequestError:
    """Return the first fault that pydantic found."""
    first = error.errors()[0]
    param = ".".join(str(part) for part in first["loc"]) or None
    return RequestError(f"{param or 'body'}: {first['msg']}", param=param)


def busy(retry_after: int) -> RequestError:
    return RequestError(
        f"the server is busy; try again in {retry_after} s",
        status=429,
        code="rate_limit_exceeded",
        kind="rate_limit_error",
        headers={"Retry-After": str(retry_after)},
    )


def failed(message: str) -> RequestError:
    return RequestError(message, status=500, code="server_error", kind="server_error")
