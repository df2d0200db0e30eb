"""The line that every request leaves: what it says of each end, and what it never says."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from server.gateway import access_log
from server.gateway.access_log import AccessLog, NotingCaller
from server.transcoding.app import Options, Transcoder
from server.transcoding.calls import Outcome
from server.transcoding.violation import Refusal
from tests.unit.transcoding.client import Client, Response
from tests.unit.transcoding.kitchen import SERVICE, message

Code = grpc.StatusCode
Work = Callable[..., Awaitable[None]]
Line = dict[str, Any]

GET_BOOK, WATCH, PUT_SINK = (f"/kitchen.v1.Kitchen/{name}" for name in ("GetBook", "Watch", "PutSink"))
BOOK = message("Book")(title="a book")


class Upstream:
    """A caller whose RPCs end as told: after `work`, which gets what delivers messages, with `code`."""

    def __init__(self, code: Code = Code.OK, work: Work | None = None, headers: Sequence[tuple[str, str]] = ()) -> None:
        self._code = code
        self._work = work
        self._headers = tuple(headers)

    async def call(self, request: Any, _terms: Any) -> Outcome:
        """Read the request, and answer with a book."""
        request()
        if self._work is not None:
            await self._work(None)
        return Outcome(self._code, "its words", None, self._headers, BOOK)

    async def stream(self, _route: Any, _requests: Any, _terms: Any, deliver: Any) -> Outcome:
        """Let the work deliver what it likes."""
        if self._work is not None:
            await self._work(lambda: deliver(BOOK, ()))
        return Outcome(self._code, "its words", None, (), None)


async def hang(_deliver: Any) -> None:
    """Never end."""
    await asyncio.Event().wait()


async def one(deliver: Any) -> None:
    """Deliver one message."""
    await deliver()


async def one_and_hang(deliver: Any) -> None:
    """Deliver one message and never end."""
    await deliver()
    await asyncio.Event().wait()


def logged(upstream: Upstream, options: Options | None = None) -> Client:
    app: Any = AccessLog(Transcoder([SERVICE], NotingCaller(upstream), options))
    return Client(app)


async def line_of(asked: Awaitable[Response]) -> tuple[Line, Response]:
    """Return the one line of a request without what is in all of them, and the answer."""
    with capture_logs() as logs:
        response = await asked
    (line,) = logs
    assert (line.pop("event"), line.pop("log_level")) == ("call", "info")
    assert line.pop("milliseconds") >= 0
    assert line.pop("peer") == "ipv4:127.0.0.1:5000"
    return dict(line), response


@pytest.mark.parametrize(
    ("upstream", "target", "line"),
    [
        (Upstream(), "/v1/books/dune", {"method": GET_BOOK, "outcome": "OK", "status": 200}),
        (Upstream(Code.NOT_FOUND), "/v1/books/dune", {"method": GET_BOOK, "outcome": "NOT_FOUND", "status": 404}),
        (Upstream(Code.DATA_LOSS), "/v1/books/dune", {"method": GET_BOOK, "outcome": "DATA_LOSS", "status": 500}),
        (Upstream(Code.CANCELLED), "/v1/books/dune", {"method": GET_BOOK, "outcome": "CANCELLED", "status": 499}),
        (Upstream(work=one), "/v1/books:watch", {"method": WATCH, "outcome": "OK", "status": 200}),
        (Upstream(Code.ABORTED, one), "/v1/books:watch", {"method": WATCH, "outcome": "ABORTED", "status": 200}),
        (Upstream(Code.ABORTED), "/v1/books:watch", {"method": WATCH, "outcome": "ABORTED", "status": 409}),
        (Upstream(), "/v1/nothing", {"method": "unknown", "outcome": "NOT_FOUND", "status": 404}),
    ],
    ids=str,
)
async def test_a_line_tells_the_rpc_and_how_it_ended_or_that_there_was_none(
    upstream: Upstream, target: str, line: Line
) -> None:
    assert (await line_of(logged(upstream).send("GET", target)))[0] == {"verb": "GET", **line}


@pytest.mark.parametrize(
    ("verb", "target", "body", "headers", "told"),
    [
        ("PUT", "/v1/books/dune", b"", {}, ("unknown", "METHOD_NOT_ALLOWED", 405)),
        ("OPTIONS", "/v1/books/dune", b"", {}, ("unknown", "NO_CONTENT", 204)),
        ("GET", "/v1/books/dune", b"", {"accept": "image/png"}, ("unknown", "NOT_ACCEPTABLE", 406)),
        ("GET", "/v1/books/dune", b"", {"grpc-timeout": "soon"}, ("unknown", "BAD_REQUEST", 400)),
        ("POST", "/v1/sinks", b"x" * 20, {}, (PUT_SINK, "PAYLOAD_TOO_LARGE", 413)),
        ("POST", "/v1/sinks", b"{}", {"content-type": "text/css"}, (PUT_SINK, "UNSUPPORTED_MEDIA_TYPE", 415)),
        ("POST", "/v1/books:chat", b"{}", {"content-type": "text/css"}, ("unknown", "UNSUPPORTED_MEDIA_TYPE", 415)),
        ("HEAD", "/v1/books/dune", b"", {}, (GET_BOOK, "OK", 200)),
    ],
    ids=str,
)
async def test_what_reaches_no_handler_is_told_by_its_status_or_refusal(
    verb: str, target: str, body: bytes, headers: dict[str, str], told: tuple[str, str, int]
) -> None:
    client = logged(Upstream(), Options(max_body=10))

    line, _ = await line_of(client.send(verb, target, body, [*headers.items()]))

    assert line == {"verb": verb, **dict(zip(("method", "outcome", "status"), told, strict=True))}


@pytest.mark.parametrize(
    ("target", "work", "line"),
    [
        ("/v1/books/dune", hang, {"method": GET_BOOK, "outcome": "DEADLINE_EXCEEDED", "status": 504}),
        ("/v1/books:watch", hang, {"method": WATCH, "outcome": "DEADLINE_EXCEEDED", "status": 504}),
        ("/v1/books:watch", one_and_hang, {"method": WATCH, "outcome": "DEADLINE_EXCEEDED", "status": 200}),
    ],
    ids=str,
)
async def test_a_call_whose_time_is_up_is_late_and_not_cancelled(target: str, work: Work, line: Line) -> None:
    options = Options(timeout=0.01, stream_timeout=0.01)

    assert (await line_of(logged(Upstream(work=work), options).send("GET", target)))[0] == {"verb": "GET", **line}


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [(Refusal(413, "PAYLOAD_TOO_LARGE", "too much"), "PAYLOAD_TOO_LARGE"), (OSError("no room"), "INTERNAL")],
    ids=str,
)
async def test_a_stream_that_breaks_off_did_not_end_well(fault: Exception, outcome: str) -> None:
    async def one_and_fail(deliver: Any) -> None:
        await deliver()
        raise fault

    line, response = await line_of(logged(Upstream(work=one_and_fail)).send("GET", "/v1/books:watch"))

    assert line == {"method": WATCH, "outcome": outcome, "verb": "GET", "status": 200}
    assert "error" in json.loads(response.body.splitlines()[-1])


@pytest.mark.parametrize(
    ("target", "work", "line"),
    [
        ("/v1/books/dune", hang, {"method": GET_BOOK, "outcome": "CANCELLED"}),
        ("/v1/books:watch", hang, {"method": WATCH, "outcome": "CANCELLED"}),
        ("/v1/books:watch", one_and_hang, {"method": WATCH, "outcome": "CANCELLED", "status": 200}),
    ],
    ids=str,
)
async def test_a_client_that_goes_away_leaves_one_line_of_a_cancelled_call(target: str, work: Work, line: Line) -> None:
    gone = asyncio.Event()
    gone.set()

    assert (await line_of(logged(Upstream(work=work)).send("GET", target, gone=gone)))[0] == {
        "verb": "GET",
        **line,
    }


async def test_a_client_that_goes_away_before_any_call_has_cancelled_its_request() -> None:
    gone = asyncio.Event()
    gone.set()

    async def read(_scope: Any, receive: Any, _send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    app: Any = AccessLog(read)

    line, _ = await line_of(Client(app).send("POST", "/v1/sinks", gone=gone))

    assert line == {"method": "unknown", "outcome": "CANCELLED", "verb": "POST"}


async def test_a_server_that_stops_cancels() -> None:
    begun = asyncio.Event()

    async def begin(deliver: Any) -> None:
        begun.set()
        await hang(deliver)

    async def stopped() -> Response:
        request = asyncio.create_task(logged(Upstream(work=begin)).send("GET", "/v1/books/dune"))
        await begun.wait()
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        return Response(0, {}, b"")

    assert (await line_of(stopped()))[0] == {"method": GET_BOOK, "outcome": "CANCELLED", "verb": "GET"}


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (["3f2b1c9e-7d4a-4d0e-9d56-0a3b6c1d2e4f"], "3f2b1c9e-7d4a-4d0e-9d56-0a3b6c1d2e4f"),
        (["call_01jd3m8r5vf4q9zq5k2t7w6x8y"], "call_01jd3m8r5vf4q9zq5k2t7w6x8y"),
        (["Root:1.a"], "Root:1.a"),
        (["x" * 64], "x" * 64),
        (["x" * 65], None),
        ([""], None),
        (["two words"], None),
        (["Basic aHVudGVyMg=="], None),
        (['a"b'], None),
        (["a\n"], None),
        (["é"], None),
        (["a", "b"], None),
        ([], None),
    ],
    ids=str,
)
async def test_an_id_is_told_where_it_looks_like_one(values: list[str], told: str | None) -> None:
    headers = [("x-request-id", value) for value in values]

    asked = (await line_of(logged(Upstream()).send("GET", "/v1/nothing", headers=headers)))[0]
    answered = (await line_of(logged(Upstream(headers=headers)).send("GET", "/v1/books/dune")))[0]

    assert asked.get("request_id") == told
    assert answered.get("call_id") == told
    assert ("request_id" in asked, "call_id" in answered) == (told is not None, told is not None)


@given(st.sampled_from(["GET", "POST", "PUT", "DELETE"]), st.text("hunter2/:%?&=.", max_size=20))
def test_nothing_that_a_client_writes_is_told(method: str, text: str) -> None:
    headers = [(name, f"{text} hunter2") for name in ("authorization", "x-api-key", "cookie", "x-request-id", "accept")]
    target = f"/v1/books/hunter2{text}?query=hunter2"

    with capture_logs() as logs:
        asyncio.run(logged(Upstream()).send(method, target, '{"title": "hunter2"}', headers))

    assert len(logs) == 1
    assert "hunter2" not in json.dumps(logs)


async def test_an_answer_stands_whatever_becomes_of_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def info(self, *_: Any, **__: Any) -> None:
            raise RuntimeError

    monkeypatch.setattr(access_log, "_log", Broken())

    assert (await logged(Upstream()).send("GET", "/v1/books/dune")).status == 200
