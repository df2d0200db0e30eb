"""The pages of the ASGI root."""

from collections.abc import Mapping

import pytest

from server.web.app import web_app
from server.web.asgi import App
from tests.unit.web.browser import client_of, hello

OPENAPI = {"openapi": "3.1.0", "paths": {}}
JWKS = {"keys": [{"kty": "RSA", "kid": "one"}]}


def make_app(checks: Mapping[str, bool] | None = None, *, jwks: Mapping[str, object] | None = JWKS) -> App:
    ready = checks or {"database": True, "signing_keys": True}
    return web_app(hello, ready=lambda: ready, openapi=OPENAPI, jwks=jwks)


async def test_healthz_says_that_the_process_lives_even_if_nothing_is_ready() -> None:
    async with client_of(make_app({"database": False})) as client:
        answer = await client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_readyz_reports_every_part() -> None:
    async with client_of(make_app()) as client:
        answer = await client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "checks": {"database": True, "signing_keys": True}}


async def test_readyz_names_the_parts_that_are_not_ready() -> None:
    async with client_of(make_app({"signing_keys": False, "database": False, "cache": True})) as client:
        answer = await client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {
        "status": "unavailable",
        "checks": {"signing_keys": False, "database": False, "cache": True},
        "code": "ERROR_CODE_UNAVAILABLE",
        "message": "Not ready: database, signing_keys.",
    }


@pytest.mark.parametrize(("path", "content"), [("/openapi.json", OPENAPI), ("/.well-known/jwks.json", JWKS)])
async def test_documents_can_be_kept_and_revalidated(path: str, content: Mapping[str, object]) -> None:
    async with client_of(make_app()) as client:
        first = await client.get(path)
        again = await client.get(path, headers={"if-none-match": first.headers["etag"]})
    assert (first.status_code, first.json()) == (200, content)
    assert first.headers["content-type"] == "application/json"
    assert first.headers["cache-control"] == "public, max-age=300"
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert "content-type" not in again.headers


@pytest.mark.parametrize(
    ("if_none_match", "status"),
    [("W/{}", 304), ('"other", {}', 304), ("*", 304), ('"other"', 200), ("", 200), ("nonsense", 200)],
)
async def test_if_none_match_is_a_list_compared_weakly(if_none_match: str, status: int) -> None:
    async with client_of(make_app()) as client:
        etag = (await client.get("/openapi.json")).headers["etag"]
        answer = await client.get("/openapi.json", headers={"if-none-match": if_none_match.format(etag)})
    assert answer.status_code == status


async def test_openapi_may_be_given_as_bytes() -> None:
    app = web_app(hello, ready=dict, openapi=b'{"openapi":"3.1.0"}')
    async with client_of(app) as client:
        answer = await client.get("/openapi.json")
    assert answer.json() == {"openapi": "3.1.0"}


async def test_without_a_local_issuer_there_are_no_keys_to_serve() -> None:
    async with client_of(make_app(jwks=None)) as client:
        answer = await client.get("/.well-known/jwks.json")
    assert answer.text == "http 203.0.113.9"


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/openapi.json", "/.well-known/jwks.json"])
async def test_head_has_the_length_but_no_body(path: str) -> None:
    async with client_of(make_app()) as client:
        full = await client.get(path)
        head = await client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(full.content))


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/openapi.json", "/.well-known/jwks.json"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_pages_can_only_be_read(path: str, method: str) -> None:
    async with client_of(make_app()) as client:
        answer = await client.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"
    assert answer.json() == {"code": "ERROR_CODE_METHOD_NOT_ALLOWED", "message": "Only GET, HEAD can be used here."}


@pytest.mark.parametrize("path", ["/", "/v1/developer/keys", "/healthz/", "/Healthz", "/healthz/../x"])
async def test_every_other_path_is_the_apis(path: str) -> None:
    async with client_of(make_app()) as client:
        answer = await client.get(path)
    assert answer.text == "http 203.0.113.9"
