"""Calls through the gateway: what came from reflection alone behaves as the transcoder does over handlers."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from server.transcoding.options import Options
from tests.integration.gateway.upstream import Front, Upstreams, fronted


@pytest.fixture
async def front(upstreams: Upstreams) -> AsyncIterator[Front]:
    """A gateway in front of the kitchen."""
    await upstreams.start()
    async with fronted(upstreams.address) as front:
        await front.until(200)
        yield front


async def test_a_get_is_a_call_and_allowed_metadata_comes_back(front: Front) -> None:
    response = await front.http.get("/v1/books/dune")

    assert response.status_code == 200
    assert (response.json()["name"], response.json()["title"]) == ("dune", "none")
    assert response.headers["etag"] == '"1"'
    assert "x-inner" not in response.headers


async def test_a_body_reaches_the_server_with_every_type(front: Front) -> None:
    sink: dict[str, Any] = {
        "anInt64": "9007199254740993",
        "someBytes": "AAE=",
        "labels": {"a": "b"},
        "time": "2024-05-06T07:08:09Z",
        "mask": "a,bC",
        "any": {"@type": "type.googleapis.com/kitchen.v1.Inner", "nums": [1], "deepName": "x"},
        "struct": {"k": [1, None]},
    }

    response = await front.http.post("/v1/sinks", json=sink)

    assert response.status_code == 200
    assert {name: value for name, value in response.json().items() if value not in ([], {})} == sink


async def test_a_failure_comes_back_with_its_details(front: Front) -> None:
    response = await front.http.get("/v1/books/missing")

    assert response.status_code == 404
    told = response.json()
    assert (told["code"], told["message"]) == ("NOT_FOUND", "there is no such book")
    assert [detail["reason"] for detail in told["details"]] == ["NO_BOOK"]


async def test_the_text_of_an_upstreams_exception_stays_there(front: Front) -> None:
    response = await front.http.get("/v1/books/broken")

    assert response.status_code == 500
    assert "secret" not in response.text


@pytest.mark.parametrize(
    ("method", "target", "body", "status"),
    [
        ("GET", "/v1/nothing", None, 404),
        ("PUT", "/v1/books/dune", None, 405),
        ("GET", "/v1/books/dune?nonsense=1", None, 400),
        ("POST", "/v1/sinks", b"{", 400),
        ("POST", "/v1/sinks", b'{"aBool": "true"}', 400),
        ("GET", "/v1/books", None, 501),  # the upstream has no such method, only its description
    ],
)
async def test_what_is_no_good_call_is_answered_as_ever(
    front: Front, method: str, target: str, body: bytes | None, status: int
) -> None:
    response = await front.http.request(method, target, content=body)

    assert response.status_code == status
    assert {"code", "message"} <= response.json().keys()


async def test_a_server_stream_comes_as_lines(front: Front) -> None:
    response = await front.http.get("/v1/books:watch?pageSize=3")

    assert response.headers["content-type"].startswith("application/x-ndjson")
    assert [json.loads(line)["title"] for line in response.text.splitlines()] == ["0", "1", "2"]


async def test_a_stream_that_fails_says_so_last(front: Front) -> None:
    response = await front.http.get("/v1/books:watch?pageSize=1&query=torn")

    first, last = (json.loads(line) for line in response.text.splitlines())
    assert (first["title"], last["error"]["code"], last["error"]["message"]) == ("0", "DATA_LOSS", "torn")


async def test_a_stream_that_fails_at_once_is_a_plain_error(front: Front) -> None:
    response = await front.http.get("/v1/books:watch?query=torn")

    assert (response.status_code, response.json()["code"]) == (500, "DATA_LOSS")


async def test_client_streams_are_lines(front: Front) -> None:
    lines = b'{"title": "a"}\n{"title": "b"}\n'
    headers = {"content-type": "application/x-ndjson"}

    imported = await front.http.post("/v1/books:import", content=lines, headers=headers)
    chatted = await front.http.post("/v1/books:chat", content=lines, headers=headers)

    assert [book["title"] for book in imported.json()["books"]] == ["a", "b"]
    assert [json.loads(line)["title"] for line in chatted.text.splitlines()] == ["re: a", "re: b"]


async def test_a_line_that_does_not_fit_is_a_bad_request(front: Front) -> None:
    headers = {"content-type": "application/x-ndjson"}

    response = await front.http.post("/v1/books:import", content=b'{"titel": "a"}\n', headers=headers)

    assert (response.status_code, response.json()["violations"][0]["field"]) == (400, "titel")


async def test_a_raw_body_is_itself(front: Front) -> None:
    response = await front.http.get("/v1/books/dune:download")

    assert (response.headers["content-type"], response.text) == ("text/plain", "dune")


async def test_the_document_describes_what_was_learned(front: Front) -> None:
    response = await front.http.get("/openapi.json")

    document = response.json()
    assert (response.status_code, document["openapi"]) == (200, "3.1.0")
    assert document["info"]["title"] == "kitchen.v1.Kitchen"
    assert "/v1/sinks" in document["paths"]


async def test_the_gateways_own_pages(front: Front) -> None:
    healthy, ready = await front.http.get("/healthz"), await front.http.get("/readyz")

    assert (healthy.status_code, healthy.json()) == (200, {"status": "ok"})
    assert (ready.status_code, ready.json()["checks"]) == (200, {"routes": True, "upstream": True})
    assert ready.headers["x-content-type-options"] == "nosniff"


async def test_the_protocols_limits_hold(front: Front) -> None:
    response = await front.http.get("/v1/books/dune", headers={"x-long": "x" * 20_000})

    assert response.status_code == 431


async def test_what_the_operator_chose_holds(upstreams: Upstreams) -> None:
    await upstreams.start()
    headers = (*Options().request_headers, "x-shelf")
    options = Options(request_headers=headers, max_body=10, ignores_unknown_query=True, domain="kitchen.example")
    async with fronted(upstreams.address, options, cors_origins=["https://a.example"]) as front:
        await front.until(200)
        page = {"origin": "https://a.example", "x-shelf": "top"}

        allowed = await front.http.get("/v1/books/dune?nonsense=1", headers=page)
        large = await front.http.post("/v1/sinks", json={"aString": "long enough"})
        named = await front.http.get("/v1/books/missing")

    assert (allowed.status_code, allowed.json()["title"]) == (200, "top")
    assert allowed.headers["access-control-allow-origin"] == "https://a.example"
    assert large.status_code == 413
    assert named.json()["code"] == "NO_BOOK"
