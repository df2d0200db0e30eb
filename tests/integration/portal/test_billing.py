"""Usage and billing: streams by day and client, requests by key, statements and their files."""

import csv
import io
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import httpx2
import pytest
import pytest_asyncio
from sdk.billing.v1.billing_service_pb2 import ListStatementLinesResponse
from sdk.metering.v1.metering_service_pb2 import RecordStreamAcquisitionsRequest, StreamAcquisition
from sdk.metering.v1.metering_service_pb2_grpc import MeteringServiceStub
from sdk.usage.v1.usage_pb2 import GRANULARITY_DAY, MEDIUM_MUSIC, MEDIUM_VIDEO

from server.errors import Kind
from server.metering.rollup import RollUp
from server.portal.calls import Calls
from server.portal.statement_files import neutral
from server.postgres.pool import Database
from server.rpc.in_process import CallFailed
from server.times import format_time
from tests.integration.portal.visitor import Visitor, verify, visiting
from tests.service import Service

NOW = datetime.now(UTC)
MONTH = f"{NOW:%Y-%m}"
HOUR = timedelta(hours=1)
BEGIN = NOW.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
LAST_MONTH = BEGIN - HOUR
RECENT, LATER = max(NOW - HOUR, BEGIN), max(NOW - HOUR / 2, BEGIN)


class Platform:
    """The streaming platform, which tells what users acquired."""

    def __init__(self, stub: Any, token: str, developer_id: str) -> None:
        self._stub = stub
        self._token = token
        self._developer_id = developer_id

    async def record(self, *events: StreamAcquisition) -> None:
        """Enter events of the developer."""
        for event in events:
            event.developer_id = self._developer_id
        for start in range(0, len(events), 1000):
            request = RecordStreamAcquisitionsRequest(acquisitions=events[start : start + 1000])
            answer = await self._stub.RecordStreamAcquisitions(
                request, metadata=[("authorization", f"Bearer {self._token}")]
            )
            assert not [result for result in answer.results if result.violations]


def acquired(event_id: str, at: datetime = RECENT, lasts: timedelta = HOUR, **fields: Any) -> StreamAcquisition:
    """Make an event of a user of its own."""
    return StreamAcquisition(
        **{
            "event_id": event_id,
            "client_id": "client_gone",
            "user_id": f"user-of-{event_id[:50]}",
            "content_id": "song",
            "medium": MEDIUM_MUSIC,
            "quality": "high",
            "acquired_at": format_time(at),
            "url_expires_at": format_time(at + lasts),
            **fields,
        }
    )


@pytest_asyncio.fixture(loop_scope="session")
async def platform(alice: Visitor, service: Service, data_dir: Path) -> AsyncIterator[Platform]:
    developer_id = (await alice.rest("GET", "/v1/developer/account"))["developer"]["id"]
    token = (data_dir / "internal-token").read_text().strip()
    async with grpc.aio.insecure_channel(service.addresses.internal_grpc) as channel:
        yield Platform(MeteringServiceStub(channel), token, developer_id)


async def late(platform: Platform) -> None:
    """Make a month with adjustments: an event that was billable, and one before it that makes it a repetition."""
    await platform.record(acquired("known", LAST_MONTH, user_id="one"))
    await platform.record(acquired("earlier", LAST_MONTH - HOUR, lasts=3 * HOUR, user_id="one"))


async def until_counted(visitor: Visitor, key_id: str, calls: int) -> None:
    """Wait until what was verified is written down, at most for the seconds the service promises."""
    for _ in range(500):
        answer = await visitor.rest("GET", f"/v1/developer/keys/{key_id}/usage?granularity=GRANULARITY_MINUTE")
        if int(answer["usage"].get("calls", 0)) >= calls:
            return
    raise AssertionError("the calls were not counted")


async def rows(alice: Visitor, month: str = MONTH) -> list[dict[str, str]]:
    answer = await alice.open(f"/portal/statements/{month}.csv")
    return list(csv.DictReader(io.StringIO(answer.response.content.decode(), newline="")))


async def test_without_streams_and_calls_the_page_teaches(alice: Visitor) -> None:
    page = await alice.open("/portal/usage")

    assert page.status == 200
    assert "Users of your OAuth clients acquire them with their own consent" in page.text
    assert "No call was made with a key in this time." in page.text
    assert page.link(f"{NOW:%B %Y}").endswith(f"/portal/statements/{MONTH}")
    assert "Ask for a higher tier" in page.text


async def test_streams_are_shown_by_day_and_client(alice: Visitor, platform: Platform) -> None:
    wish = {"type": "O_AUTH_CLIENT_TYPE_PUBLIC", "redirectUris": ["https://a.example/"], "allowedScopes": ["stream"]}
    client = (await alice.rest("POST", "/v1/developer/oauth-clients", {"name": "<b>Player</b>", **wish}))["client"]
    await platform.record(
        acquired("1", client_id=client["id"]),
        acquired("2", client_id=client["id"], medium=MEDIUM_VIDEO),
        acquired("3", user_id="same"),
        acquired("4", LATER, user_id="same"),
    )

    page = await alice.open("/portal/usage")

    assert page.link("<b>Player</b>").endswith(f"/portal/clients/{client['id']}")
    assert "client_gone deleted or unknown" in page.text
    assert "3 billable streams in all" in page.html
    for number in (1, 2, 3):
        assert f'class="chart-bar s{number}"' in page.html


async def test_a_month_is_chosen_and_else_it_is_the_present_one(alice: Visitor, platform: Platform) -> None:
    await platform.record(acquired("1", LAST_MONTH), acquired("2"))

    this, before = f"{NOW:%Y-%m}", f"{LAST_MONTH:%Y-%m}"
    assert "1 billable stream in all" in (await alice.open(f"/portal/usage?month={this}")).html
    page = await alice.open(f"/portal/usage?month={before}")
    assert "1 billable stream in all" in page.html
    assert f'<option value="{before}" selected>' in page.html
    for other in ("", "?month=2999-01", "?month=x", "?month=0000-01", "?month=' OR 1"):
        page = await alice.open(f"/portal/usage{other}")
        assert page.status == 200
        assert f'<option value="{this}" selected>{NOW:%B %Y}</option>' in page.html
        assert "1 billable stream in all" in page.html


async def test_use_is_asked_for_from_the_first_day_of_the_month(
    alice: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    whole = Calls.list_key_usage

    async def noted(self: Calls, *arguments: Any) -> Any:
        asked.append(arguments[:3])
        return await whole(self, *arguments)

    monkeypatch.setattr(Calls, "list_key_usage", noted)
    await alice.open("/portal/usage")

    assert asked == [(GRANULARITY_DAY, format_time(BEGIN), "")]


async def test_a_month_is_written_as_the_reader_does(alice: Visitor) -> None:
    assert f"Statement {NOW:%B %Y}" in (await alice.open(f"/portal/statements/{MONTH}")).text

    alice.browser.cookies["lang"] = "ar"
    for path in ("/portal/usage", f"/portal/statements/{MONTH}"):
        assert MONTH not in (await alice.open(path)).text


async def test_requests_are_shown_by_key_with_the_limits_that_hold(
    alice: Visitor, service: Service, data_dir: Path, database: Database
) -> None:
    created = await alice.new_key("<i>Server</i>")
    await verify(service, data_dir, created["secret"], calls=3)
    await until_counted(alice, created["apiKey"]["id"], 3)
    await RollUp(database).roll_up()

    page = await alice.open("/portal/usage")

    assert page.link("<i>Server</i>").endswith(f"/portal/keys/{created['apiKey']['id']}?by=day")
    assert created["apiKey"]["keyPrefix"] in page.text
    limits = await alice.rest("GET", "/v1/developer/limits")
    assert f"{limits['keyRate']['requests']} calls in any {limits['keyRate']['windowSeconds']} seconds" in page.text
    assert f"Streams at a time {limits['concurrentStreams']}" in page.text


async def test_a_statement_explains_its_adjustments(alice: Visitor, platform: Platform) -> None:
    await late(platform)
    await platform.record(acquired("new"))

    page = await alice.open(f"/portal/statements/{MONTH}")
    statement = (await alice.rest("GET", f"/v1/developer/statements/{MONTH}"))["statement"]

    assert page.status == 200
    assert "Still open" in page.text
    assert "What adjustments are" in page.text
    for event_id in ("known", "earlier", "new"):
        assert event_id in page.text
    assert "+1" in page.text
    assert "-1" in page.text
    assert statement["total"] == str(sum(int(row["amount"]) for row in await rows(alice)))


async def test_the_total_can_be_recomputed_from_the_files(alice: Visitor, platform: Platform) -> None:
    await late(platform)
    await platform.record(*(acquired(f"event-{number}", medium=1 + number % 2) for number in range(2005)))
    statement = (await alice.rest("GET", f"/v1/developer/statements/{MONTH}"))["statement"]

    lines = await rows(alice)
    document = (await alice.open(f"/portal/statements/{MONTH}.json")).response.json()

    assert sum(int(line["amount"]) for line in lines) == int(statement["total"]) == 2006
    assert document["statement"] == statement
    assert [line["eventId"] for line in document["lines"]] == [line["event_id"] for line in lines]
    assert len({(line["event_id"], line["amount"]) for line in lines}) == len(lines) == 2008
    for each in statement["sums"]:
        mine = [
            line
            for line in lines
            if line["client_id"] == each["clientId"]
            and line["medium"] == each["medium"].removeprefix("MEDIUM_").lower()
        ]
        late_ones = sum(int(line["amount"]) for line in mine if line["adjustment"] == "true")
        assert late_ones == int(each.get("adjustments", 0))
        assert sum(int(line["amount"]) for line in mine) - late_ones == int(each.get("streams", 0))


async def test_lines_are_paged(alice: Visitor, platform: Platform) -> None:
    await platform.record(*(acquired(f"event-{number:02}") for number in range(60)))

    first = await alice.open(f"/portal/statements/{MONTH}")
    second = await alice.open(first.link("Next page"))

    shown = [sum(f"event-{number:02}" in page.text for number in range(60)) for page in (first, second)]
    assert shown == [50, 10]
    assert second.link("First page").partition("#")[0].endswith(f"/portal/statements/{MONTH}")
    assert (await alice.open(f"/portal/statements/{MONTH}?page=forged")).url.endswith(MONTH)


HOSTILE = ("=cmd|'/c_calc'!A1", "+1", "-1", "@SUM(A1)", '=HYPERLINK("http://evil","x")', "a,b", 'q"q', "</td><script>")


async def test_what_looks_like_a_formula_is_text_in_the_file(alice: Visitor, platform: Platform) -> None:
    await platform.record(
        *(acquired(text, client_id=f"={text} 1", content_id=text, quality=text[:32]) for text in HOSTILE)
    )

    lines = await rows(alice)

    assert {line["event_id"] for line in lines} == {neutral(text) for text in HOSTILE}
    for line in lines:
        assert line["amount"] == "1"
        assert not [cell for cell in line.values() if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    document = (await alice.open(f"/portal/statements/{MONTH}.json")).response.json()
    assert {line["eventId"] for line in document["lines"]} == set(HOSTILE)
    for path in ("/portal/usage", f"/portal/statements/{MONTH}"):
        page = await alice.open(path)
        assert "<script>" not in page.html
        assert [tag for tag, _ in page.document.attributes].count("script") == 1
    assert "</td><script>" in page.text


@pytest.mark.parametrize(("ending", "kind"), [("csv", "text/csv; charset=utf-8"), ("json", "application/json")])
async def test_files_are_downloads_that_nothing_keeps(alice: Visitor, ending: str, kind: str) -> None:
    answer = await alice.open(f"/portal/statements/{MONTH}.{ending}")

    assert answer.status == 200
    assert answer.headers["content-type"].startswith(kind)
    assert answer.headers["content-disposition"] == f'attachment; filename="statement-{MONTH}.{ending}"'
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers.get("transfer-encoding") == "chunked"
    assert not answer.response.content.startswith(b"\xef\xbb\xbf")


@pytest.mark.parametrize("ending", ["", ".csv", ".json"])
@pytest.mark.parametrize("month", ["2999-01", "1999-12", "2026-13", "2026-1", "%22%0d%0ax", "..%2f2026-01", "x" * 300])
async def test_a_month_that_is_none_is_not_found(alice: Visitor, month: str, ending: str) -> None:
    assert (await alice.open(f"/portal/statements/{month}{ending}")).status == 404


@pytest.mark.parametrize("ending", ["csv", "json"])
async def test_a_fault_on_the_way_cuts_the_file_off(
    alice: Visitor, platform: Platform, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    await platform.record(*(acquired(f"event-{number}") for number in range(1005)))
    whole = Calls.list_statement_lines

    async def failing(
        self: Calls, month: str, *, page_size: int = 0, page_token: str = ""
    ) -> ListStatementLinesResponse:
        if page_token:
            raise CallFailed(Kind.UNAVAILABLE, "The server is away.")
        return await whole(self, month, page_size=page_size, page_token=page_token)

    monkeypatch.setattr(Calls, "list_statement_lines", failing)

    with pytest.raises(httpx2.RemoteProtocolError):
        await alice.browser.open(f"/portal/statements/{MONTH}.{ending}")


async def test_an_outage_before_the_first_line_is_a_page(alice: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    async def failing(self: Calls, month: str, **_: Any) -> ListStatementLinesResponse:
        raise CallFailed(Kind.UNAVAILABLE, "The server is away.")

    monkeypatch.setattr(Calls, "list_statement_lines", failing)

    answer = await alice.open(f"/portal/statements/{MONTH}.csv")
    assert answer.status == 503
    assert "The server is away." in answer.text
    assert "content-disposition" not in answer.headers


async def test_nobody_sees_streams_of_somebody_else(alice: Visitor, platform: Platform, service: Service) -> None:
    async with visiting(service, "bob") as bob:
        await bob.register()
        bobs = (await bob.rest("GET", "/v1/developer/account"))["developer"]["id"]
    platform._developer_id = bobs
    await platform.record(acquired("of-bob"))

    assert "No streams in this time." in (await alice.open("/portal/usage")).text
    assert await rows(alice) == []
    assert "of-bob" not in (await alice.open(f"/portal/statements/{MONTH}")).text


async def test_pages_are_in_arabic_from_right_to_left(alice: Visitor, platform: Platform) -> None:
    await late(platform)
    alice.browser.cookies["lang"] = "ar"

    for path in ("/portal/usage", f"/portal/statements/{MONTH}"):
        page = await alice.open(path)
        assert page.status == 200
        assert '<html lang="ar" dir="rtl"' in page.html
        assert "الاستخدام والفوترة" in page.text


async def test_a_head_reads_no_lines(alice: Visitor, monkeypatch: pytest.MonkeyPatch, platform: Platform) -> None:
    answer = await alice.browser._send("HEAD", f"/portal/statements/{MONTH}.json", headers={"sec-fetch-site": "none"})

    assert answer.status == 200
    assert answer.response.content == b""
    assert json.loads((await alice.open(f"/portal/statements/{MONTH}.json")).response.content)["lines"] == []
