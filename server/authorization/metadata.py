"""What clients can learn of the authorization server by themselves (RFC 8414)."""

from server.authorization.model import SCOPES

METADATA_PATH = "/.well-known/oauth-authorization-server"
AUTHORIZATION_PATH = "/v1/auth/authorize"
TOKEN_PATH = "/oauth/token"  # noqa: S105 - a path
REVOCATION_PATH = "/oauth/revoke"
JWKS_PATH = "/.well-known/jwks.json"

_AUTHENTICATION_METHODS = ("client_secret_basic", "client_secret_post", "none")


def metadata(issuer_url: str) -> dict[str, object]:
    """Return the document of an issuer, whose URL has no slash at its end."""
    return {
        "issuer": issuer_url,
        "authorization_endpoint": issuer_url + AUTHORIZATION_PATH,
        "token_endpoint": issuer_url + TOKEN_PATH,
        "revocation_endpoint": issuer_url + REVOCATION_PATH,
        "jwks_uri": issuer_url + JWKS_PATH,
        "scopes_supported": list(SCOPES),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_methods_supported": list(_AUTHENTICATION_METHODS),
        "revocation_endpoint_auth_methods_supported": list(_AUTHENTICATION_METHODS),
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
    }
