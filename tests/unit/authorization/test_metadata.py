import pytest
from authlib.oauth2 import rfc8414, rfc9207

from server.authorization.metadata import metadata


@pytest.mark.parametrize("issuer_url", ["https://developer.example", "http://127.0.0.1:8080"])
def test_the_document_is_what_rfc_8414_and_rfc_9207_demand(issuer_url: str) -> None:
    document = rfc8414.AuthorizationServerMetadata(metadata(issuer_url))
    document.validate([rfc9207.AuthorizationServerMetadata])


def test_it_names_what_is_there_and_nothing_else() -> None:
    assert metadata("https://developer.example") == {
        "issuer": "https://developer.example",
        "authorization_endpoint": "https://developer.example/v1/auth/authorize",
        "token_endpoint": "https://developer.example/oauth/token",
        "revocation_endpoint": "https://developer.example/oauth/revoke",
        "jwks_uri": "https://developer.example/.well-known/jwks.json",
        "scopes_supported": ["read", "stream"],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
        "revocation_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
    }
