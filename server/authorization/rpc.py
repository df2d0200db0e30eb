"""AuthService over gRPC: messages to the service's terms and back, and nothing else."""

from collections.abc import Mapping
from typing import Any

from grpc.aio import ServicerContext
from sdk.auth.v1 import auth_service_pb2, auth_service_pb2_grpc
from sdk.auth.v1.auth_service_pb2 import (
    ExchangeTokenRequest,
    ExchangeTokenResponse,
    RefreshTokenRequest,
    RefreshTokenResponse,
    RevokeTokenRequest,
    RevokeTokenResponse,
)

from server.authorization.model import ClientCredentials, Tokens
from server.authorization.parameters import read_credentials
from server.authorization.service import AuthorizationService
from server.rpc.call import current_call

Context = ServicerContext[Any, Any]

_SCOPES: Mapping[str, auth_service_pb2.AuthScope.ValueType] = {
    "read": auth_service_pb2.AUTH_SCOPE_READ,
    "stream": auth_service_pb2.AUTH_SCOPE_STREAM,
}


class AuthService(auth_service_pb2_grpc.AuthServiceServicer):
    """The three published methods. Requests arrive parsed and validated; clients prove themselves by what they send."""

    def __init__(self, authorization: AuthorizationService) -> None:
        self._authorization = authorization

    async def ExchangeToken(self, request: ExchangeTokenRequest, context: Context) -> ExchangeTokenResponse:
        """Trade an authorization code for tokens."""
        _keep_out_of_caches()
        parameters = {
            "grant_type": "authorization_code",
            "code": request.code,
            "redirect_uri": request.redirect_uri,
            "code_verifier": request.code_verifier,
        }
        tokens = await self._authorization.give_tokens(_credentials(request), parameters)
        return ExchangeTokenResponse(**_fields(tokens))

    async def RefreshToken(self, request: RefreshTokenRequest, context: Context) -> RefreshTokenResponse:
        """Trade a refresh token for new tokens."""
        _keep_out_of_caches()
        parameters = {"grant_type": "refresh_token", "refresh_token": request.refresh_token}
        tokens = await self._authorization.give_tokens(_credentials(request), parameters)
        return RefreshTokenResponse(**_fields(tokens))

    async def RevokeToken(self, request: RevokeTokenRequest, context: Context) -> RevokeTokenResponse:
        """End a token and everything given with it."""
        _keep_out_of_caches()
        await self._authorization.revoke(_credentials(request), {"token": request.token})
        return RevokeTokenResponse()


def _credentials(request: ExchangeTokenRequest | RefreshTokenRequest | RevokeTokenRequest) -> ClientCredentials:
    headers = current_call().header_values("authorization")
    return read_credentials(headers, request.client_id, request.client_secret)


def _fields(tokens: Tokens) -> dict[str, Any]:
    return {
        "access_token": tokens.access_token.reveal(),
        "token_type": tokens.token_type,
        "expires_in": tokens.expires_in,
        "refresh_token": tokens.refresh_token.reveal(),
        "scopes": [_SCOPES[scope] for scope in tokens.scopes],
    }


def _keep_out_of_caches() -> None:
    current_call().response_headers["cache-control"] = "no-store"
