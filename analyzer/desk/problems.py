"""What goes wrong with a request, answered alike everywhere: JSON ``{code, message}``, or a page for who looks at one.

``code`` is stable and for programs, ``message`` is Chinese and for people. Neither repeats what was sent.
"""

from __future__ import annotations

from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

CODES = {
    400: "bad_request", 401: "unauthorised", 403: "forbidden", 404: "not_found", 405: "method_not_allowed",
    409: "conflict", 413: "too_large", 415: "unsupported", 416: "bad_range", 422: "invalid", 423: "locked",
    429: "too_many", 500: "internal", 503: "unavailable",
}  # fmt: skip
_MESSAGES = {404: "没有这个页面或对象", 405: "不支持这种请求方式"}


class Error(BaseModel):
    """Every error looks like this. ``code`` is for programs, ``message`` for people."""

    code: str
    message: str


class Problem(HTTPException):
    """Raise it in an endpoint, as ``Problem(404, "没有这通电话")``. ``code`` follows from the status unless given."""

    def __init__(self, status: int, message: str, code: str | None = None, **headers: str) -> None:
        super().__init__(status, message, headers or None)
        self.code = code or CODES[status]


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For a route's ``responses``: the document then names what it may answer."""
    return {status: {"model": Error, "description": CODES[status]} for status in statuses}


def not_found(what: str = "没有这个对象，或您无权查看") -> Problem:
    return Problem(404, what)


def conflict(message: str = "其他人刚刚修改过，请刷新后重试") -> Problem:
    return Problem(409, message)


def locked(message: str = "已经终审，不能再修改") -> Problem:
    return Problem(423, message)


def invalid(message: str) -> Problem:
    return Problem(422, message)


def unavailable() -> Problem:
    return Problem(503, "数据库正忙或暂时连不上，请稍后刷新再试", **{"retry-after": "2"})


def broken() -> Problem:
    return Problem(500, "服务器出错了，刚才的操作可能没有保存；请刷新后再试，仍然不行请联系管理员")


def told(error: HTTPException) -> Error:
    """The problem as it is shown."""
    code = getattr(error, "code", None) or CODES.get(error.status_code, f"http_{error.status_code}")
    is_plain = error.detail in ("Not Found", "Method Not Allowed")
    return Error(code=code, message=_MESSAGES[error.status_code] if is_plain else str(error.detail))


def as_json(error: HTTPException) -> Response:
    return JSONResponse(told(error).model_dump(), error.status_code, error.headers)


def read_invalid(error: RequestValidationError) -> Problem:
    """Names the first field that is wrong; never repeats what was sent."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"][1:])
    message = str(first["msg"]).removeprefix("Value error, ")
    return invalid(f"{place}: {message}" if place else message)


def is_page(request: Request) -> bool:
    """Whether a person looks at the answer."""
    return not request.url.path.startswith(("/api/", "/live/")) and "text/html" in request.headers.get("accept", "")
