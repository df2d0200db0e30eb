"""The gateway in front of a server in Go (grpc-go, its reflection and health): REST both ways, streams, errors."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.interop.gateway.running import Gateway, fronted
from tests.interop.tools import ROOT, run_tool

pytestmark = pytest.mark.interop

BELL = {"title": "Bell", "material": "MATERIAL_BRONZE", "insuredValue": "9007199254740993", "labels": {"room": "2"}}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def museum() -> AsyncIterator[Gateway]:
    """A gateway in front of the museum that `.ci/tools` builds."""
    async with fronted(str(ROOT / ".tools" / "bin" / "museum")) as gateway:
        yield gateway


async def test_what_is_written_is_read_again(museum: Gateway) -> None:
    added = await museum.curl(
        "/v1/halls/1/exhibits?exhibitId=bell",
        "--json",
        '{"title":"Bell","material":"MATERIAL_BRONZE","insuredValue":"9007199254740993","labels":{"room":"2"}}',
    )
    read = await museum.curl("/v1/halls/1/exhibits/bell")

    assert (added.status, read.status) == (200, 200)
    assert added.json == read.json == {"name": "halls/1/exhibits/bell", **BELL}
    assert (read.headers["etag"], "x-private" in read.headers) == ('"1"', False)


async def test_an_error_has_its_code_its_message_and_its_details(museum: Gateway) -> None:
    answer = await museum.curl("/v1/halls/1/exhibits/none")

    assert answer.status == 404
    assert (answer.json["code"], answer.json["message"]) == ("NOT_FOUND", 'there is no exhibit "halls/1/exhibits/none"')
    reason, resource = answer.json["details"]
    assert (reason["reason"], reason["domain"]) == ("NO_EXHIBIT", "museum.example")
    assert resource["resourceName"] == "halls/1/exhibits/none"


async def test_violations_of_the_server_name_fields(museum: Gateway) -> None:
    answer = await museum.curl("/v1/halls/1/exhibits", "--json", "{}")

    assert answer.status == 400
    assert answer.json["violations"] == [{"field": "exhibit.title", "description": "must be given"}]


@pytest.mark.parametrize(
    ("path", "words", "status"),
    [
        ("/v1/halls/1/exhibits", ("--json", '{"titel":"x"}'), 400),
        ("/v1/halls/1/exhibits?exhibit.title=x", ("--json", "{}"), 400),
        ("/v1/halls/1/exhibits/bell", ("-X", "DELETE"), 405),
        ("/v1/halls//exhibits/bell", ("--path-as-is",), 404),
        ("/v1/halls/1/exhibits", ("-H", "content-type: text/plain", "-d", "x"), 415),
    ],
)
async def test_what_is_wrong_never_reaches_it(museum: Gateway, path: str, words: tuple[str, ...], status: int) -> None:
    assert (await museum.curl(path, *words)).status == status


async def test_a_server_stream_comes_message_by_message(museum: Gateway) -> None:
    lines = await museum.curl("/v1/halls/1:watch?count=2")
    events = await museum.curl("/v1/halls/1:watch?count=2", "-N", "-H", "accept: text/event-stream")
    array = await museum.curl("/v1/halls/1:watch?count=2", "-H", "accept: application/json")

    assert lines.lines == array.json == [{"number": 1, "stay": "1.500s"}, {"number": 2, "stay": "3s"}]
    assert events.headers["content-type"].startswith("text/event-stream")
    assert events.body.count("data:") == 2


async def test_a_stream_that_breaks_off_ends_with_its_error(museum: Gateway) -> None:
    answer = await museum.curl("/v1/halls/1:watch?count=20")

    assert len(answer.lines) == 13
    assert (answer.lines[-1]["error"]["code"], answer.lines[-1]["error"]["message"]) == (
        "FAILED_PRECONDITION",
        "the doors are shut",
    )


async def test_a_client_stream_is_lines(museum: Gateway) -> None:
    tickets = "".join(f'{{"id":"{number}","price":{number}}}\n' for number in range(1, 101))

    answer = await museum.curl(
        "/v1/tickets:count", "-H", "content-type: application/x-ndjson", "--data-binary", tickets
    )

    assert (answer.status, answer.json) == (200, {"tickets": 100, "total": "5050"})


async def test_health_is_followed_and_the_document_made(museum: Gateway) -> None:
    ready, document = await museum.curl("/readyz"), await museum.curl("/openapi.json")

    assert (ready.status, ready.json["checks"]) == (200, {"routes": True, "upstream": True})
    assert document.json["info"]["title"] == "museum.v1.Museum"


async def test_the_openapi_command_prints_the_same_document(museum: Gateway) -> None:
    printed = await run_tool(str(ROOT / ".venv/bin/python"), "-m", "server", "openapi", "--upstream", museum.upstream)

    assert printed.json == (await museum.curl("/openapi.json")).json
