"""One client over gRPC and over REST, so that each case is written once and holds for both.

Each client also checks, on every call, what its protocol promises of any answer: the envelope of errors, the call id.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self
from urllib.parse import quote

import grpc
import httpx2
from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo, RetryInfo
from google.rpc.status_pb2 import Status
from sdk.developer.v1 import developer_service_pb2

from server.services import AUTH_SERVICE, PUBLIC_SERVICES

Headers = Sequence[tuple[str, str]]

SERVICE = developer_service_pb2.DESCRIPTOR.services_by_name["DeveloperService"]
CALL_ID = re.compile(r"call_[0-7][0-9a-hjkmnp-tv-z]{25}")
GRPC_STATUSES = {
    "ERROR_CODE_INVALID_REQUEST": grpc.StatusCode.INVALID_ARGUMENT,
    "ERROR_CODE_UNAUTHENTICATED": grpc.StatusCode.UNAUTHENTICATED,
    "ERROR_CODE_PERMISSION_DENIED": grpc.StatusCode.PERMISSION_DENIED,
    "ERROR_CODE_NOT_FOUND": grpc.StatusCode.NOT_FOUND,
    "ERROR_CODE_CONFLICT": grpc.StatusCode.FAILED_PRECONDITION,
    "ERROR_CODE_RATE_LIMITED": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "ERROR_CODE_OVERLOADED": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "ERROR_CODE_UNAVAILABLE": grpc.StatusCode.UNAVAILABLE,
    "ERROR_CODE_UNIMPLEMENTED": grpc.StatusCode.UNIMPLEMENTED,
}
HTTP_STATUSES = {
    "ERROR_CODE_INVALID_REQUEST": 400,
    "ERROR_CODE_UNAUTHENTICATED": 401,
    "ERROR_CODE_PERMISSION_DENIED": 403,
    "ERROR_CODE_NOT_FOUND": 404,
    "ERROR_CODE_CONFLICT": 409,
    "ERROR_CODE_RATE_LIMITED": 429,
    "ERROR_CODE_OVERLOADED": 503,
    "ERROR_CODE_UNAVAILABLE": 503,
}
ROUTES = {
    "CreateApiKey": ("POST", "/v1/developer/keys"),
    "ListApiKeys": ("GET", "/v1/developer/keys"),
    "GetApiKey": ("GET", "/v1/developer/keys/{id}"),
    "UpdateApiKey": ("PATCH", "/v1/developer/keys/{id}"),
    "RotateApiKey": ("POST", "/v1/developer/keys/{id}/rotate"),
    "RevokeApiKey": ("POST", "/v1/developer/keys/{id}/revoke"),
}
USAGE_ROUTES = {
    "GetUsage": ("GET", "/v1/developer/usage"),
    "GetKeyUsage": ("GET", "/v1/developer/keys/{id}/usage"),
    "GetLimits": ("GET", "/v1/developer/limits"),
    "ListKeyUsage": ("GET", "/v1/developer/usage/keys"),
    "ListKeyFindings": ("GET", "/v1/developer/key-findings"),
    "ExplainThrottling": ("GET", "/v1/developer/keys/{id}/throttling"),
}
PORTAL_ROUTES = {
    "ListSecretVersions": ("GET", "/v1/developer/keys/{id}/secrets"),
    "EndGrace": ("POST", "/v1/developer/keys/{id}/secrets/{version}/end-grace"),
    "CreateOAuthClient": ("POST", "/v1/developer/oauth-clients"),
    "ListOAuthClients": ("GET", "/v1/developer/oauth-clients"),
    "GetOAuthClient": ("GET", "/v1/developer/oauth-clients/{id}"),
    "UpdateOAuthClient": ("PATCH", "/v1/developer/oauth-clients/{id}"),
    "RotateClientSecret": ("POST", "/v1/developer/oauth-clients/{id}/rotate-secret"),
    "DeleteOAuthClient": ("DELETE", "/v1/developer/oauth-clients/{id}"),
    "RegisterDeveloper": ("POST", "/v1/developer/account"),
    "GetDeveloper": ("GET", "/v1/developer/account"),
    "UpdateDeveloper": ("PATCH", "/v1/developer/account"),
    "ListAuditEvents": ("GET", "/v1/developer/account/audit-events"),
    "ListTiers": ("GET", "/v1/developer/tiers"),
    "RequestTier": ("POST", "/v1/developer/account/tier-requests"),
    "ListStreamDays": ("GET", "/v1/developer/stream-days"),
    "GetStatement": ("GET", "/v1/developer/statements/{month}"),
    "ListStatementLines": ("GET", "/v1/developer/statements/{month}/lines"),
}
AUTH_ROUTES = {
    "ExchangeToken": ("POST", "/v1/auth/token"),
    "RefreshToken": ("POST", "/v1/auth/token/refresh"),
    "RevokeToken": ("POST", "/v1/auth/token/revoke"),
}
"""These take no access token."""
EVERY_ROUTE = ROUTES | USAGE_ROUTES | PORTAL_ROUTES | AUTH_ROUTES
METHODS = {method.name: method for service in (*PUBLIC_SERVICES, AUTH_SERVICE) for method in service.methods}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a call came to. `code` is OK or an ErrorCode; `sent` is an error as it was sent, without its call id."""

    code: str
    headers: Mapping[str, str]
    body: dict[str, Any] = field(default_factory=dict)
    message: str = ""
    violations: tuple[tuple[str, str], ...] = ()
    retry_after: int | None = None
    sent: bytes = b""

    @property
    def fields(self) -> list[str]:
        """The fields at fault, in order."""
        return [name for name, _ in self.violations]


@dataclass(frozen=True, slots=True, kw_only=True)
class Client(ABC):
    """Calls DeveloperService as the bearer of a token. Requests and answers are in the JSON form of the messages."""

    token: str

    def bearing(self, token: str) -> Self:
        """Return the same client with another token."""
        return replace(self, token=token)

    @abstractmethod
    def spell(self, path: str) -> str:
        """Return a field's path, given in proto names, as this protocol's violations spell it."""

    @abstractmethod
    async def call(
        self, method: str, request: Mapping[str, Any], *, headers: Headers = (), authorize: bool = True
    ) -> Answer:
        """Call a method and return its answer, whatever it is."""

    async def get(self, method: str, *, headers: Headers = (), **request: Any) -> dict[str, Any]:
        """Call a method that must succeed and return its response."""
        answer = await self.call(method, request, headers=headers)
        assert answer.code == "OK", f"{method} failed: {answer.code} {answer.message}"
        return answer.body

    async def fail(self, code: str, method: str, *, headers: Headers = (), **request: Any) -> Answer:
        """Call a method that must fail with a code and return its answer."""
        answer = await self.call(method, request, headers=headers)
        assert answer.code == code, f"{method} answered {answer.code} {answer.message}"
        return answer

    async def new_key(self, **request: Any) -> dict[str, Any]:
        """Create a key of no particular kind and return the response."""
        return await self.get("CreateApiKey", **({"name": "Production", "scopes": ["read"]} | request))

    def _headers(self, headers: Headers, *, authorize: bool) -> list[tuple[str, str]]:
        return [*([("authorization", f"Bearer {self.token}")] if authorize else []), *headers]


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcClient(Client):
    """The client over gRPC."""

    channel: grpc.aio.Channel

    def spell(self, path: str) -> str:
        """Violations name fields as the protos do."""
        return path

    async def call(
        self, method: str, request: Mapping[str, Any], *, headers: Headers = (), authorize: bool = True
    ) -> Answer:
        """Make the request message and call."""
        descriptor = METHODS[method]
        message = json_format.ParseDict(dict(request), GetMessageClass(descriptor.input_type)())
        call = self.channel.unary_unary(
            f"/{descriptor.containing_service.full_name}/{method}",
            request_serializer=message.__class__.SerializeToString,
            response_deserializer=GetMessageClass(descriptor.output_type).FromString,
        )(message, metadata=[(name.lower(), value) for name, value in self._headers(headers, authorize=authorize)])
        try:
            response = await call
        except grpc.aio.AioRpcError as error:
            return _grpc_failure(error)
        return Answer(code="OK", headers=_checked(dict(await call.initial_metadata())), body=_document(response))


def _grpc_failure(error: grpc.aio.AioRpcError) -> Answer:
    headers = _checked(dict(error.initial_metadata()))
    encoded = dict(error.trailing_metadata())["grpc-status-details-bin"]
    assert isinstance(encoded, bytes)
    status = Status.FromString(encoded)
    assert (status.code, status.message) == (error.code().value[0], error.details())
    sent = repr((error.code(), error.details())).encode() + encoded
    return failure_of_status(status, headers, sent)


def failure_of_status(status: Status, headers: dict[str, str], sent: bytes) -> Answer:
    """Return the answer that a gRPC status is, checked for what every error of ours has."""
    info, request_info, bad_request, retry = (
        _detail(status, kind()) for kind in (ErrorInfo, RequestInfo, BadRequest, RetryInfo)
    )
    assert info.domain == "sdk.shared.v1"
    assert status.code == GRPC_STATUSES[info.reason].value[0]
    assert request_info.request_id == headers["x-request-id"]
    assert (info.reason == "ERROR_CODE_INVALID_REQUEST") == bool(bad_request.field_violations)
    return Answer(
        code=info.reason,
        headers=headers,
        message=status.message,
        violations=tuple((fault.field, fault.description) for fault in bad_request.field_violations),
        retry_after=retry.retry_delay.seconds or None,
        sent=sent.replace(headers["x-request-id"].encode(), b""),
    )


def _detail(status: Status, into: Any) -> Any:
    found = [detail for detail in status.details if detail.Unpack(into)]
    assert len(found) <= 1
    return into


@dataclass(frozen=True, slots=True, kw_only=True)
class RestClient(Client):
    """The client over REST."""

    http: httpx2.AsyncClient

    def spell(self, path: str) -> str:
        """Violations name fields in camelCase."""
        return re.sub(r"_([a-z])", lambda match: match[1].upper(), path)

    async def call(
        self, method: str, request: Mapping[str, Any], *, headers: Headers = (), authorize: bool = True
    ) -> Answer:
        """Put the request's fields into path, query or body, and call."""
        verb, path = EVERY_ROUTE[method]
        rest = dict(request)
        for name in re.findall(r"{(\w+)}", path):
            path = path.replace(f"{{{name}}}", quote(str(rest.pop(name)), safe=""))
        inputs: dict[str, Any] = {"params": rest} if verb in ("GET", "DELETE") else {"json": rest}
        response = await self.http.request(verb, path, headers=self._headers(headers, authorize=authorize), **inputs)
        if response.status_code != 200:
            return self.failure(response)
        message = json_format.Parse(
            response.content,
            GetMessageClass(METHODS[method].output_type)(),
            ignore_unknown_fields=False,
        )
        return Answer(code="OK", headers=_checked(dict(response.headers)), body=_document(message))

    def failure(self, response: httpx2.Response) -> Answer:
        """Read an error."""
        return _rest_failure(response)


def _rest_failure(response: httpx2.Response) -> Answer:
    headers = _checked(dict(response.headers))
    assert headers["content-type"] == "application/json"
    body = response.json()
    expected = {"code", "message", "violations"} if response.status_code == 400 else {"code", "message"}
    assert set(body) == expected, body
    assert response.status_code == HTTP_STATUSES[body["code"]]
    assert body["message"]
    violations = body.get("violations", [])
    assert all(set(fault) == {"field", "description"} for fault in violations)
    sent = [str(response.status_code), response.text, *sorted(f"{name}: {headers[name]}" for name in headers)]
    return Answer(
        code=body["code"],
        headers=headers,
        message=body["message"],
        violations=tuple((fault["field"], fault["description"]) for fault in violations),
        retry_after=int(headers["retry-after"]) if "retry-after" in headers else None,
        sent="\n".join(sent).replace(headers["x-request-id"], "").encode(),
    )


def _checked(headers: dict[str, Any]) -> dict[str, str]:
    assert CALL_ID.fullmatch(headers["x-request-id"]), headers
    return headers


def _document(message: Message) -> dict[str, Any]:
    return json_format.MessageToDict(message, always_print_fields_with_no_presence=True)
