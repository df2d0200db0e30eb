"""The gateway through the upstream's life: before it is there, while it is away, and when it comes back as another."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from server.gateway import catalogue, follower, reflection
from server.gateway.files import Files
from server.gateway.follower import Follower
from server.transcoding.options import Options
from tests.integration.gateway.test_reflection import answering, giving
from tests.integration.gateway.upstream import Kitchen, Upstreams, fronted
from tests.unit.transcoding.kitchen import compile_proto, message

LIBRARY = compile_proto(
    'syntax = "proto3"; package library.v2; import "google/api/annotations.proto";'
    "message Card { string holder = 1; }"
    'service Library { rpc GetCard(Card) returns (Card) { option (google.api.http) = {get: "/v2/cards/{holder}"}; } }'
)
UNANNOTATED = compile_proto(
    'syntax = "proto3"; package plain.v1; message M { string id = 1; } service Plain { rpc Get(M) returns (M); }'
)


class Library:
    """Gives every card."""

    async def GetCard(self, request: Any, _context: Any) -> Any:
        """Give back the card."""
        return request


async def test_it_may_start_first(upstreams: Upstreams) -> None:
    async with fronted(upstreams.address) as front:
        await front.until_told("cannot be reached")

        early, ready = await front.http.get("/v1/books/dune"), await front.http.get("/readyz")
        described, healthy = await front.http.get("/openapi.json"), await front.http.get("/healthz")
        await upstreams.start()
        await front.until(200)
        later = await front.http.get("/v1/books/dune")

    assert (early.status_code, early.json()["code"], early.headers["retry-after"]) == (503, "UNAVAILABLE", "1")
    assert (ready.status_code, ready.json()["checks"]) == (503, {"routes": False, "upstream": False})
    assert (described.status_code, healthy.status_code) == (503, 200)
    assert later.status_code == 200
    assert front.told == ["The upstream cannot be reached, or not with these TLS options.", "Ready."]


async def test_while_the_upstream_is_away_its_routes_answer_503(upstreams: Upstreams) -> None:
    await upstreams.start()
    async with fronted(upstreams.address) as front:
        await front.until(200)

        await upstreams.stop()
        away = await front.until(503)
        called, absent = await front.http.get("/v1/books/dune"), await front.http.get("/v1/nothing")
        described = await front.http.get("/openapi.json")
        await upstreams.start()
        await front.until(200)
        back = await front.http.get("/v1/books/dune")

    assert away.json()["checks"] == {"routes": True, "upstream": False}
    assert (called.status_code, called.json()["code"]) == (503, "UNAVAILABLE")
    assert called.json()["message"] == "The upstream server cannot be reached."
    assert (absent.status_code, described.status_code, back.status_code) == (404, 200, 200)


async def test_what_comes_back_changed_is_served_changed(upstreams: Upstreams) -> None:
    await upstreams.start()
    async with fronted(upstreams.address) as front:
        await front.until(200)
        before = (await front.http.get("/openapi.json")).json()["info"]

        await upstreams.stop()
        await front.until(503)
        await upstreams.start(LIBRARY, ["library.v2.Library"], Library())
        await front.until(200)
        await front.until(200, "/v2/cards/alice")
        card, book = await front.http.get("/v2/cards/alice"), await front.http.get("/v1/books/dune")
        after = (await front.http.get("/openapi.json")).json()["info"]

    assert card.json() == {"holder": "alice"}
    assert book.status_code == 404
    assert (before["title"], after["title"]) == ("kitchen.v1.Kitchen", "library.v2.Library")
    assert before["version"] != after["version"]


async def test_what_cannot_be_learned_leaves_the_routes_as_they_were(upstreams: Upstreams) -> None:
    await upstreams.start()
    async with fronted(upstreams.address) as front:
        await front.until(200)

        await upstreams.stop()
        await front.until(503)
        await upstreams.start(versions=())
        await front.until_told("no server reflection")
        await front.until(200)
        called = await front.http.get("/v1/books/dune")

    assert called.status_code == 200


async def test_what_was_refused_is_learned_when_it_is_mended_without_a_restart(upstreams: Upstreams) -> None:
    async with fronted(upstreams.address) as front:
        await upstreams.start(UNANNOTATED, ["plain.v1.Plain"])
        await front.until_told("google.api.http")
        ready = await front.http.get("/readyz")
        await upstreams.stop()
        await upstreams.start()
        await front.until(200)

    assert ready.status_code == 503
    assert "(plain.v1.Plain)" in front.told[-2]
    assert "annotate" in front.told[-2]


async def test_a_call_in_flight_ends_before_the_gateway_does(upstreams: Upstreams) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    class Slow(Library):
        async def GetCard(self, request: Any, context: Any) -> Any:
            begun.set()
            await go_on.wait()
            return await super().GetCard(request, context)

    await upstreams.start(LIBRARY, ["library.v2.Library"], Slow())
    async with httpx2.AsyncClient() as patient:
        async with fronted(upstreams.address) as front:
            await front.until(200)
            call = asyncio.create_task(patient.get(front.http.base_url.join("/v2/cards/alice")))
            await begun.wait()
            asyncio.get_running_loop().call_soon(go_on.set)
        response = await call

    assert response.status_code == 200


async def test_equal_descriptions_are_learned_once(upstreams: Upstreams) -> None:
    shuffled = FileDescriptorSet.FromString(LIBRARY.SerializeToString())
    await upstreams.start(LIBRARY, ["library.v2.Library"], Library())
    async with fronted(upstreams.address) as front:
        first = await front.until(200, "/openapi.json")
        await upstreams.stop()
        await front.until(503)
        await upstreams.start(shuffled, ["library.v2.Library"], Library())
        await front.until(200)
        again = await front.http.get("/openapi.json", headers={"if-none-match": first.headers["etag"]})

    assert again.status_code == 304
    assert front.told.count("Ready.") == 1


async def test_a_client_that_goes_away_ends_the_call_at_the_upstream(upstreams: Upstreams) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    class Slow(Library):
        async def GetCard(self, request: Any, context: Any) -> Any:
            begun.set()
            try:
                return await asyncio.Event().wait()
            finally:
                ended.set()

    await upstreams.start(LIBRARY, ["library.v2.Library"], Slow())
    async with fronted(upstreams.address) as front:
        await front.until(200)
        call = asyncio.create_task(front.http.get("/v2/cards/alice"))
        await begun.wait()
        call.cancel()
        await ended.wait()


async def test_a_client_that_goes_away_ends_the_stream_at_the_upstream(upstreams: Upstreams) -> None:
    ended = asyncio.Event()

    class Endless(Kitchen):
        async def Watch(self, _request: Any, _context: Any) -> AsyncIterator[Any]:
            try:
                yield message("Book")(title="first")
                await asyncio.Event().wait()
            finally:
                ended.set()

    await upstreams.start(servicer=Endless())
    async with fronted(upstreams.address) as front:
        await front.until(200)
        async with front.http.stream("GET", "/v1/books:watch") as response:
            first = await anext(response.aiter_lines())
        await ended.wait()

    assert '"first"' in first


async def test_a_call_has_the_operators_time_at_most(upstreams: Upstreams) -> None:
    class Slow(Library):
        async def GetCard(self, request: Any, context: Any) -> Any:
            return await asyncio.Event().wait()

    await upstreams.start(LIBRARY, ["library.v2.Library"], Slow())
    async with fronted(upstreams.address, Options(timeout=0.05)) as front:
        await front.until(200)
        response = await front.http.get("/v2/cards/alice")

    assert (response.status_code, response.json()["code"]) == (504, "DEADLINE_EXCEEDED")


async def test_routes_of_two_services_that_collide_are_told_of(upstreams: Upstreams) -> None:
    rpc = 'rpc Get(M) returns (M) { option (google.api.http) = {get: "/v1/m"}; }'
    text = 'syntax = "proto3"; package t; import "google/api/annotations.proto"; message M {}'
    await upstreams.start(
        compile_proto(f"{text} service A {{ {rpc} }} service B {{ {rpc} }}"), ["t.A", "t.B"], object()
    )
    async with fronted(upstreams.address) as front:
        await front.until_told("t.A.Get and t.B.Get both claim")
    async with fronted(upstreams.address, services=["t.B"]) as front:
        await front.until(200)


async def test_a_fault_of_ours_while_learning_is_no_end(upstreams: Upstreams, monkeypatch: pytest.MonkeyPatch) -> None:
    faults = [RuntimeError("a bug")]

    async def describe(*given: Any) -> Any:
        if faults:
            raise faults.pop()
        return await reflection.describe(*given)

    monkeypatch.setattr("server.gateway.follower.describe", describe)
    await upstreams.start()
    async with fronted(upstreams.address) as front:
        await front.until(200)

    assert front.told == ["Ready."]


async def test_after_a_long_round_the_next_one_begins_at_once(
    upstreams: Upstreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "_STEADY_SECONDS", 0.0)
    monkeypatch.setattr(follower, "_FIRST_PAUSE", 3600.0)
    await upstreams.start()
    async with fronted(upstreams.address) as front:
        await front.until(200)
        await upstreams.stop()
        await front.until(503)
        await upstreams.start()
        await front.until(200)


async def test_an_operator_who_has_left_is_no_end(upstreams: Upstreams) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()

    def gone(sentence: str) -> None:
        heard.put_nowait(sentence)
        raise BrokenPipeError

    async with fronted(upstreams.address, listens=gone) as front:
        early = await heard.get()
        await upstreams.start()
        await front.until(200)
        called = await front.http.get("/v1/books/dune")

    assert ("cannot be reached" in early, await heard.get(), heard.empty()) == (True, "Ready.", True)
    assert called.status_code == 200


async def test_a_fault_of_ours_while_following_is_no_end(upstreams: Upstreams, monkeypatch: pytest.MonkeyPatch) -> None:
    faults = [RuntimeError("a bug")]
    really = Follower._follow_health

    async def follow_health(self: Follower, *, has_spoken: bool) -> None:
        if faults:
            raise faults.pop()
        await really(self, has_spoken=has_spoken)

    monkeypatch.setattr(Follower, "_follow_health", follow_health)
    await upstreams.start()
    async with fronted(upstreams.address) as front:
        await front.until(200)


async def test_routes_are_served_without_their_document(upstreams: Upstreams, monkeypatch: pytest.MonkeyPatch) -> None:
    def openapi_of(_catalogue: Any) -> Any:
        raise RecursionError

    monkeypatch.setattr("server.gateway.catalogue.openapi_of", openapi_of)
    await upstreams.start()
    async with fronted(upstreams.address) as front:
        await front.until(200)
        called, described = await front.http.get("/v1/books/dune"), await front.http.get("/openapi.json")

    assert called.status_code == 200
    assert (described.status_code, described.json()["code"]) == (503, "UNAVAILABLE")
    assert front.told[0] == "Ready."
    assert "cannot be made" in front.told[1]
    assert "(RecursionError)" in front.told[1]
    assert "/openapi.json answers 503" in front.told[1]


async def test_names_that_are_no_text_are_told_of(upstreams: Upstreams) -> None:
    file = compile_proto(
        'syntax = "proto3"; package h; import "google/api/annotations.proto";'
        'message M { string id = 1 [json_name = "zz"]; }'
        'service S { rpc A(M) returns (M) { option (google.api.http) = {get: "/v1/m"}; } }'
    ).file[-1]
    odd = file.SerializeToString().replace(b"zz", b"\xff\xff")
    await upstreams.start(reflection=answering(lambda _: giving(odd)))
    async with fronted(upstreams.address) as front:
        await front.until_told("names of fields that are not UTF-8")


async def test_routes_behind_the_gateways_own_pages_are_told_of_once(upstreams: Upstreams) -> None:
    hidden = compile_proto(
        'syntax = "proto3"; package h; import "google/api/annotations.proto"; message M {} service S {'
        'rpc A(M) returns (M) { option (google.api.http) = {get: "/healthz" additional_bindings {get: "/v1"}}; }'
        'rpc B(M) returns (M) { option (google.api.http) = {put: "/openapi.json"}; } }'
    )

    class Hidden:
        async def A(self, request: Any, _context: Any) -> Any:
            return request

    await upstreams.start(hidden, ["h.S"], Hidden())
    async with fronted(upstreams.address) as front:
        await front.until(200)
        await upstreams.stop()
        await front.until(503)
        await upstreams.start(hidden, ["h.S"], Hidden())
        await front.until(200)
        own, routed = await front.http.get("/healthz"), await front.http.get("/v1")

    assert (own.json(), routed.json()) == ({"status": "ok"}, {})
    remarks = [sentence for sentence in front.told if "hidden" in sentence]
    assert remarks == ["The upstream's routes at /healthz, /openapi.json are hidden by the gateway's own pages."]


async def test_reading_a_description_holds_up_no_call(upstreams: Upstreams, monkeypatch: pytest.MonkeyPatch) -> None:
    places: dict[str, set[bool]] = {}

    def noted(work: Callable[..., Any]) -> Callable[..., Any]:
        def done(*given: Any) -> Any:
            places.setdefault(work.__name__, set()).add(threading.current_thread() is threading.main_thread())
            return work(*given)

        return done

    for work in (Files.add, Files.next_missing, Files.substitute, Files.in_order):
        monkeypatch.setattr(Files, work.__name__, noted(work))
    monkeypatch.setattr("server.gateway.app.fingerprint_of", noted(catalogue.fingerprint_of))
    monkeypatch.setattr("server.gateway.app.link", noted(catalogue.link))
    await upstreams.start(LIBRARY, ["library.v2.Library"], Library())
    async with fronted(upstreams.address) as front:
        await front.until(200)
        await upstreams.stop()
        await front.until(503)
        await upstreams.start()
        await front.until(200, "/v1/books/dune")

    assert {"add", "next_missing", "in_order", "fingerprint_of", "link"} <= places.keys()
    assert set.union(*places.values()) == {False}
