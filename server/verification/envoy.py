"""Envoy's external authorisation: whether a request may pass by its `x-api-key`, and what its sender is told if not.

Routes say what they need by context extensions: `scopes` (separated by commas), `environment`, `operation`, `cost`.
Answers to clients are those of the public contract (sections 3 and 5); limits travel in `X-RateLimit-*`, and that a
secret is about to end in `Deprecation` (RFC 9745) and `Sunset` (RFC 8594).
"""

import json
import math
import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import structlog
from envoyproxy.envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption
from envoyproxy.envoy.service.auth.v3.attribute_context_pb2 import AttributeContext
from envoyproxy.envoy.service.auth.v3.external_auth_pb2 import (
    CheckRequest,
    CheckResponse,
    DeniedHttpResponse,
    OkHttpResponse,
)
from envoyproxy.envoy.type.v3.http_status_pb2 import HttpStatus, StatusCode
from google.rpc.status_pb2 import Status
from grpc import StatusCode as GrpcCode
from grpc.aio import ServicerContext

from server.errors import InvalidRequest, Kind, Unavailable, Violation
from server.verification.cache import Entry
from server.verification.model import Presented, Question
from server.verification.service import Answer, VerificationService, month_ends_at
from server.verification.verdict import Verdict

Context = ServicerContext[Any, Any]
_log = structlog.get_logger(__name__)

_KEY_HEADER = "x-api-key"
_ADDRESS = re.compile(r"[0-9A-Fa-f.:]{0,45}", re.ASCII)
_EXTENSIONS = {
    "scopes": re.compile(r"[a-z0-9._:-]{1,64}(,[a-z0-9._:-]{1,64}){0,15}", re.ASCII),
    "environment": re.compile(r"live|test"),
    "operation": re.compile(r"[A-Za-z0-9._/-]{0,64}", re.ASCII),
    "cost": re.compile(r"[1-9]\d{0,3}|10000", re.ASCII),
}
_UNAUTHORISED = "The API key is missing, invalid or no longer valid."
_SENTENCES = {
    Verdict.DEVELOPER_SUSPENDED: "The developer account of this API key is suspended.",
    Verdict.ENVIRONMENT_MISMATCH: "This API key is not for this environment.",
    Verdict.INSUFFICIENT_SCOPE: "This API key lacks a scope that the request needs.",
}
_TOLD_LIMITS = (*_SENTENCES, Verdict.QUOTA_EXCEEDED)  # refused before any limit was asked, and told it all the same
_LIMITED = (Verdict.RATE_LIMITED, Verdict.QUOTA_EXCEEDED)
_CODES: Mapping[int, GrpcCode] = {
    400: GrpcCode.INVALID_ARGUMENT,
    401: GrpcCode.UNAUTHENTICATED,
    403: GrpcCode.PERMISSION_DENIED,
    429: GrpcCode.RESOURCE_EXHAUSTED,
    500: GrpcCode.INTERNAL,
    503: GrpcCode.UNAVAILABLE,
}


class Authorization:
    """The one method. A misconfigured route is refused, never let through; an outage is a 503 to the client."""

    def __init__(self, verification: VerificationService) -> None:
        self._verification = verification

    async def Check(self, request: CheckRequest, context: Context) -> CheckResponse:  # noqa: N802 - named by the proto
        """Judge the request by its key."""
        try:
            presented = _presented(request.attributes)
            return _response(await self._judge(presented) if presented else None)
        except InvalidRequest as refusal:
            violations = [{"field": each.field, "description": each.description} for each in refusal.violations]
            return _denied(400, refusal.kind, refusal.message, violations=violations)
        except Unavailable as fault:
            return _denied(503, fault.kind, fault.message, headers={"retry-after": str(fault.retry_after)})
        except _Misconfigured as fault:
            _log.error("route_misconfigured", extensions=fault.extensions)
            return _denied(
                500, Kind.INTERNAL, "This route is not configured correctly. The platform's operators know why."
            )

    async def _judge(self, presented: Presented) -> Answer:
        answer = await self._verification.verify(presented)
        if answer.verdict in _TOLD_LIMITS and answer.entry is not None:
            standing = await self._verification.standing(answer.entry)
            return answer._replace(decision=standing)
        return answer


class _Misconfigured(Exception):
    """What the route says it needs cannot be understood; `extensions` are the names at fault."""

    def __init__(self, *extensions: str) -> None:
        super().__init__()
        self.extensions = extensions


def _presented(attributes: AttributeContext) -> Presented | None:
    """Read the key and what the route needs; None when there is no key.

    Raises:
        InvalidRequest: two credentials were sent (contract section 3).
        _Misconfigured: the route's extensions are at fault.
    """
    headers = _headers(attributes.request.http)
    keys = headers.get(_KEY_HEADER, [])
    if len(keys) > 1:
        raise InvalidRequest([Violation(_KEY_HEADER, "was sent more than once: send one API key")])
    if keys and "authorization" in headers:
        sentence = "must not be sent together with Authorization: send one credential"
        raise InvalidRequest([Violation(_KEY_HEADER, sentence)])
    if not keys or not keys[0]:
        return None
    address = attributes.source.address.socket_address.address
    question = _question(attributes.context_extensions)
    return Presented(keys[0], question, address if _ADDRESS.fullmatch(address) else "")


def _headers(http: AttributeContext.HttpRequest) -> dict[str, list[str]]:
    """Collect headers by name, whichever way Envoy was told to send them; no key holds the comma that joins two."""
    headers: dict[str, list[str]] = {}
    for name, value in http.headers.items():
        headers[name.lower()] = [part.strip() for part in value.split(",")] if name == _KEY_HEADER else [value]
    for header in http.header_map.headers:
        value = header.raw_value.decode(errors="replace") or header.value
        headers.setdefault(header.key.lower(), []).append(value)
    return headers


def _question(extensions: Mapping[str, str]) -> Question:
    """Read what a route needs. Unknown extensions are faults too: a misspelt `scopes` must not open it."""
    faulty = [
        name for name in extensions if name not in _EXTENSIONS or not _EXTENSIONS[name].fullmatch(extensions[name])
    ]
    if faulty:
        raise _Misconfigured(*sorted(faulty))
    return Question(
        required_scopes=tuple(scope for scope in extensions.get("scopes", "").split(",") if scope),
        environment=extensions.get("environment", ""),
        operation=extensions.get("operation", ""),
        cost=int(extensions.get("cost", "1")),
    )


def _response(answer: Answer | None) -> CheckResponse:
    """Map a verdict to what Envoy does; None is a request without a key."""
    if answer is None or answer.verdict in (
        Verdict.MALFORMED,
        Verdict.NOT_FOUND,
        Verdict.REVOKED,
        Verdict.EXPIRED,
        Verdict.ROTATED_OUT,
    ):
        challenge = {"www-authenticate": 'ApiKey realm="api", header="x-api-key"'}
        return _denied(401, Kind.UNAUTHENTICATED, _UNAUTHORISED, headers=challenge)
    if answer.verdict in _SENTENCES:
        return _denied(403, Kind.PERMISSION_DENIED, _SENTENCES[answer.verdict], headers=_limit_headers(answer))
    if answer.verdict in _LIMITED:
        wait = _retry_after(answer)
        headers = {**_limit_headers(answer), "retry-after": str(wait)}
        return _denied(429, Kind.RATE_LIMITED, f"Rate limit exceeded. Retry after {wait}s.", headers=headers)
    return _allowed(answer)


def _allowed(answer: Answer) -> CheckResponse:
    assert answer.entry is not None  # noqa: S101 - a VALID answer has one
    key = answer.entry.key
    identity = {
        "x-developer-id": key.developer_id,
        "x-api-key-id": key.key_id,
        "x-api-key-scopes": ",".join(sorted(key.scopes)),
    }
    return CheckResponse(
        status=Status(code=GrpcCode.OK.value[0]),
        ok_response=OkHttpResponse(
            headers=_options(identity),
            headers_to_remove=[_KEY_HEADER],
            response_headers_to_add=_options({**_limit_headers(answer), **_sunset_headers(answer.entry)}),
        ),
    )


def _denied(
    status: int,
    kind: Kind,
    message: str,
    *,
    headers: Mapping[str, str] | None = None,
    violations: Sequence[Mapping[str, str]] = (),
) -> CheckResponse:
    body: dict[str, Any] = {"code": kind.value, "message": message}
    if violations:
        body["violations"] = violations
    told = {"content-type": "application/json", "cache-control": "no-store", **(headers or {})}
    return CheckResponse(
        status=Status(code=_CODES[status].value[0]),
        denied_response=DeniedHttpResponse(
            status=HttpStatus(code=StatusCode.ValueType(status)), headers=_options(told), body=json.dumps(body)
        ),
    )


def _options(headers: Mapping[str, str]) -> list[HeaderValueOption]:
    """Set headers in place of any that the client or the upstream sent under the same names."""
    return [
        HeaderValueOption(
            header=HeaderValue(key=name, value=value), append_action=HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
        )
        for name, value in headers.items()
    ]


def _limit_headers(answer: Answer) -> dict[str, str]:
    decision = answer.decision
    if decision is None:
        return {}
    return {
        "x-ratelimit-limit": str(decision.limit),
        "x-ratelimit-remaining": str(decision.remaining),
        "x-ratelimit-reset": str(math.ceil(time.time() + decision.reset_seconds)),
    }


def _retry_after(answer: Answer) -> int:
    if answer.verdict is Verdict.RATE_LIMITED and answer.decision is not None:
        return max(1, math.ceil(answer.decision.retry_seconds))
    now = datetime.now(UTC)
    return max(1, math.ceil((month_ends_at(now) - now).total_seconds()))


def _sunset_headers(entry: Entry) -> dict[str, str]:
    """Tell a caller that its secret was replaced, and when it will stop working."""
    key = entry.key
    if key.secret_expires_at is None or key.secret_retired_at is None:
        return {}
    return {
        "deprecation": f"@{int(key.secret_retired_at.timestamp())}",
        "sunset": format_datetime(key.secret_expires_at.astimezone(UTC), usegmt=True),
    }
