"""What only REST has: JSON as it may arrive, methods, paths, queries, and the pages around the API."""

import gzip
import json
from typing import Any

import httpx2
import pytest
from google.rpc.status_pb2 import Status
from sdk.developer.v1.developer_service_pb2 import CreateApiKeyRequest, CreateApiKeyResponse

from server.identity.local_issuer import LocalIssuer
from tests.e2e.clients import RestClient
from tests.service import Service

KEYS = "/v1/developer/keys"
GOOD = b'{"name":"a","scopes":["read"]}'
JSON = "application/json"


@pytest.fixture
def rest(connections: dict[str, Any], issuer: LocalIssuer) -> RestClient:
    """The client over REST, of a developer of no account."""
    client: RestClient = connections["rest"].bearing(issuer.issue("rest"))
    return client


async def _send(
    rest: RestClient, verb: str, path: str, body: bytes | None = None, content_type: str | None = JSON
) -> httpx2.Response:
    headers = {"authorization": f"Bearer {rest.token}"} | ({"content-type": content_type} if content_type else {})
    return await rest.http.request(verb, path, content=body, headers=headers)


def _violations(response: httpx2.Response) -> list[str]:
    assert response.status_code == 400, response.text
    body = response.json()
    assert set(body) == {"code", "message", "violations"}
    assert body["code"] == "ERROR_CODE_INVALID_REQUEST"
    assert all(fault["description"] for fault in body["violations"])
    return [fault["field"] for fault in body["violations"]]


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b"{", ["body"]),
        (b"", ["name", "scopes"]),
        (b"{}", ["name", "scopes"]),
        (b"null", ["body"]),
        (b"[]", ["body"]),
        (b'"text"', ["body"]),
        (b"1", ["body"]),
        (GOOD + b"x", ["body"]),
        (GOOD + GOOD, ["body"]),
        (b"\xef\xbb\xbf" + GOOD, ["body"]),
        (b"{'name':'a'}", ["body"]),
        (b'{"name":"a",}', ["body"]),
        (b'{"name":"\xff"}', ["body"]),
        (GOOD.decode().encode("utf-16"), ["body"]),
        (b"[" * 100_000, ["body"]),
        (b'{"name":' * 50_000, ["body"]),
        (b'{"name":' + b"[" * 101 + b"]" * 101 + b"}", ["body"]),
        (b'{"name":NaN,"scopes":["read"]}', ["body"]),
        (b'{"name":-Infinity,"scopes":["read"]}', ["body"]),
        (b'{"name":"a","name":"b","scopes":["read"]}', ["name"]),
        (b'{"name":"a","scopes":["read"],"requestId":"","request_id":""}', ["requestId"]),
        (b'{"name":"a","scopes":["read"],"colour":"red"}', ["colour"]),
        (b'{"name":"a","scopes":["read"],"colour":null}', ["colour"]),
        (b'{"name":1,"scopes":["read"]}', ["name"]),
        (b'{"name":["a"],"scopes":["read"]}', ["name"]),
        (b'{"name":{},"scopes":["read"]}', ["name"]),
        (b'{"name":true,"scopes":"read"}', ["name", "scopes"]),
        (b'{"name":"a","scopes":{"0":"read"}}', ["scopes"]),
        (b'{"name":"a","scopes":[1,null,"read",[]]}', ["scopes[0]", "scopes[1]", "scopes[3]"]),
        (b'{"name":"a","scopes":["read"],"environment":"LIVE"}', ["environment"]),
        (b'{"name":"a","scopes":["read"],"environment":"api_key_environment_live"}', ["environment"]),
        (b'{"name":"a","scopes":["read"],"environment":1.5}', ["environment"]),
        (b'{"name":"a","scopes":["read"],"environment":99999999999999999999}', ["environment"]),
        (b'{"name":"a","scopes":["read"],"environment":' + b"9" * 5000 + b"}", ["body"]),
        (b'{"name":"a\\u0000b","scopes":["read"]}', ["name"]),
        (b'{"name":"a\x00b","scopes":["read"]}', ["body"]),
        (b'{"name":"\\ud800","scopes":["read"]}', ["name"]),
        (b'{"\\ud800":"a","name":"a","scopes":["read"]}', ["\\ud800"]),
        (b'{"name":"a","scopes":["read"],"expiresAt":1893456000}', ["expiresAt"]),
        (b'{"name":"a","scopes":["read"],"expires_at":"soon"}', ["expires_at"]),
    ],
)
async def test_what_is_wrong_with_a_body_is_named(rest: RestClient, body: bytes, fields: list[str]) -> None:
    assert _violations(await _send(rest, "POST", KEYS, body)) == fields


@pytest.mark.parametrize(
    "body",
    [
        GOOD,
        b" \r\n\t" + GOOD + b"\n",
        b'{"name":"\\u0061","scopes":["read"],"environment":"API_KEY_ENVIRONMENT_TEST"}',
        b'{"name":"a","scopes":["read"],"environment":2}',
        b'{"name":"a","scopes":["read"],"expires_at":"","requestId":null}',
        b'{"name":"\\ud83d\\ude80","scopes":["read"]}',
    ],
)
async def test_json_may_be_written_in_many_ways(rest: RestClient, body: bytes) -> None:
    response = await _send(rest, "POST", KEYS, body)
    assert response.status_code == 200, response.text


@pytest.mark.parametrize(
    "content_type", [None, JSON, "application/json; charset=utf-8", "APPLICATION/JSON", "application/merge-patch+json"]
)
async def test_json_is_taken_under_its_names(rest: RestClient, content_type: str | None) -> None:
    assert (await _send(rest, "POST", KEYS, GOOD, content_type)).status_code == 200


@pytest.mark.parametrize(
    "content_type",
    [
        "application/x-www-form-urlencoded",
        "text/plain",
        "multipart/form-data; boundary=x",
        "application/json; charset=latin-1",
    ],
)
async def test_a_body_of_another_type_is_not_taken(rest: RestClient, content_type: str) -> None:
    response = await _send(rest, "POST", KEYS, GOOD, content_type)
    assert response.status_code == 415
    assert set(response.json()) == {"code", "message"}
    assert response.json()["code"] == "ERROR_CODE_UNSUPPORTED_MEDIA_TYPE"
    assert {"x-request-id", "x-ratelimit-remaining", "accept-post"} <= set(response.headers)


async def test_who_may_not_call_is_told_so_whatever_the_body_is(rest: RestClient) -> None:
    response = await rest.http.post(KEYS, content=GOOD, headers={"content-type": "text/plain"})
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer realm=")


async def test_a_compressed_body_is_read(rest: RestClient) -> None:
    headers = {"authorization": f"Bearer {rest.token}", "content-type": JSON, "content-encoding": "gzip"}
    assert (await rest.http.post(KEYS, content=gzip.compress(GOOD), headers=headers)).status_code == 200
    assert (await rest.http.post(KEYS, content=GOOD, headers=headers)).status_code == 400
    headers["content-encoding"] = "br"
    assert (await rest.http.post(KEYS, content=GOOD, headers=headers)).status_code == 415


async def test_protobuf_is_spoken_over_http_too(rest: RestClient) -> None:
    headers = {
        "authorization": f"Bearer {rest.token}",
        "content-type": "application/x-protobuf",
        "accept": "application/x-protobuf",
    }
    request = CreateApiKeyRequest(name="a", scopes=["read"]).SerializeToString()
    response = await rest.http.post(KEYS, content=request, headers=headers)
    assert CreateApiKeyResponse.FromString(response.content).api_key.name == "a"
    response = await rest.http.post(KEYS, content=b"", headers=headers)
    assert (response.status_code, Status.FromString(response.content).code) == (400, 3)


@pytest.mark.parametrize("chunked", [False, True])
async def test_five_megabytes_are_too_much(rest: RestClient, chunked: bool) -> None:
    async def chunks() -> Any:
        for _ in range(50):
            yield b" " * 100_000

    headers = {"authorization": f"Bearer {rest.token}", "content-type": JSON}
    content: Any = chunks() if chunked else b" " * 5_000_000
    try:
        response = await rest.http.post(KEYS, content=content, headers=headers)
    except httpx2.WriteError:  # refused and hung up before it had sent everything
        return
    assert response.status_code == 413
    assert set(response.json()) == {"code", "message"}
    assert response.json()["code"] == "ERROR_CODE_PAYLOAD_TOO_LARGE"


@pytest.mark.parametrize(
    "path",
    [
        "/v1",
        "/v1/developer",
        f"{KEYS}/",
        f"{KEYS}/a/b",
        f"{KEYS}/a/revoke/",
        "/v1/Developer/keys",
        "/v1//developer",
        "/portals",
    ],
)
async def test_a_path_without_anything_is_not_found(rest: RestClient, path: str) -> None:
    response = await _send(rest, "GET", path)
    assert response.status_code == 404
    assert response.json() == {"code": "ERROR_CODE_NOT_FOUND", "message": "There is nothing at this path."}
    assert response.headers["x-request-id"].startswith("call_")


@pytest.mark.parametrize(
    ("verb", "path", "allowed"),
    [
        ("DELETE", KEYS, {"GET", "POST"}),
        ("PUT", KEYS, {"GET", "POST"}),
        ("PUT", f"{KEYS}/key_1", {"GET", "PATCH"}),
        ("DELETE", f"{KEYS}/key_1", {"GET", "PATCH"}),
        ("GET", f"{KEYS}/key_1/rotate", {"POST"}),
        ("PATCH", f"{KEYS}/key_1/revoke", {"POST"}),
    ],
)
async def test_a_method_that_a_path_does_not_have_is_told_those_it_has(
    rest: RestClient, verb: str, path: str, allowed: set[str]
) -> None:
    response = await _send(rest, verb, path)
    assert response.status_code == 405
    assert set(response.headers["allow"].split(", ")) - {"HEAD", "OPTIONS"} == allowed
    assert response.json()["code"] == "ERROR_CODE_METHOD_NOT_ALLOWED"


async def test_a_head_is_a_get_without_its_body(rest: RestClient) -> None:
    response = await _send(rest, "HEAD", KEYS)
    assert (response.status_code, response.content) == (200, b"")


@pytest.mark.parametrize(("verb", "suffix"), [("PATCH", ""), ("POST", "/rotate"), ("POST", "/revoke")])
async def test_the_id_may_be_repeated_in_the_body_but_not_changed(rest: RestClient, verb: str, suffix: str) -> None:
    key = (await rest.new_key())["apiKey"]["id"]
    name = {"name": "b"} if verb == "PATCH" else {}
    path = f"{KEYS}/{key}{suffix}"
    different = await _send(rest, verb, path, json.dumps({"id": "key_2", **name}).encode())
    equal = await _send(rest, verb, path, json.dumps({"id": key, **name}).encode())
    assert _violations(different) == ["id"]
    assert equal.status_code == 200


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("page=2", ["page"]),
        ("pageSize=1&pageSize=1", ["pageSize"]),
        ("pageSize=1&page_size=1", ["pageSize"]),
        ("pageSize=many", ["pageSize"]),
        ("page_size=1.5", ["page_size"]),
        ("page_size=99999999999", ["page_size"]),
        ("page_size=101", ["page_size"]),
        ("pageToken=%ff", ["pageToken"]),
        ("pageToken=%zz", ["pageToken"]),
        ("pageToken=x&colour=red", ["colour"]),
        ("pageSize=-1&page_token=" + "x" * 501, ["pageSize", "page_token"]),
    ],
)
async def test_what_is_wrong_with_a_query_is_named_as_it_was_written(
    rest: RestClient, query: str, fields: list[str]
) -> None:
    assert _violations(await _send(rest, "GET", f"{KEYS}?{query}")) == fields


@pytest.mark.parametrize("query", ["page_size=1", "pageSize=1", "pageSize=&pageToken=", "&&", ""])
async def test_a_query_may_be_written_in_either_way(rest: RestClient, query: str) -> None:
    assert (await _send(rest, "GET", f"{KEYS}?{query}")).status_code == 200


async def test_a_query_beside_a_body_is_refused(rest: RestClient) -> None:
    assert _violations(await _send(rest, "POST", f"{KEYS}?name=b", GOOD)) == ["name"]


async def test_a_body_beside_a_query_is_refused(rest: RestClient) -> None:
    assert _violations(await _send(rest, "GET", KEYS, b"{}")) == ["body"]


@pytest.mark.parametrize(
    ("escaped", "status"), [("%2e%2e", 404), ("key%5F1", 404), ("%00", 400), ("%ff", 400), ("%", 400)]
)
async def test_an_id_in_a_path_is_decoded_once(rest: RestClient, escaped: str, status: int) -> None:
    response = await _send(rest, "GET", f"{KEYS}/{escaped}")
    assert response.status_code == status, response.text


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/openapi.json", "/.well-known/jwks.json"])
async def test_the_pages_around_the_api_need_no_token(platform: Service, path: str) -> None:
    async with httpx2.AsyncClient(base_url=platform.rest) as http:
        assert (await http.get(path)).status_code == 200


async def test_metrics_are_on_a_port_of_their_own(platform: Service, rest: RestClient) -> None:
    await _send(rest, "GET", KEYS)
    assert (await _send(rest, "GET", "/metrics")).status_code == 404
    async with httpx2.AsyncClient(base_url=f"http://{platform.addresses.metrics}") as http:
        metrics = (await http.get("/metrics")).text
    assert 'method="/sdk.developer.v1.DeveloperService/ListApiKeys",outcome="OK"' in metrics
