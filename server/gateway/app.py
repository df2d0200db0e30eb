"""The gateway as a whole: what is served now, the pages beside it, and everything that runs together."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import grpc.aio
import orjson
import structlog

from server.gateway.catalogue import fingerprint_of, link, openapi_of
from server.gateway.files import CannotLearn
from server.gateway.follower import Follower
from server.gateway.reflection import Description
from server.gateway.upstream import Upstream, open_channel
from server.transcoding.app import Options, Transcoder
from server.transcoding.channel import ChannelCaller
from server.transcoding.router import InvalidRoute
from server.web.answers import RETRY_SOON, ErrorAnswer
from server.web.app import Document, Pages, ReadyPage
from server.web.asgi import JSON, App, Receive, Scope, Send, respond
from server.web.cors import Cors
from server.web.guard import Guard
from server.web.server import HttpServer

_DRAIN_SECONDS = 4.0
_NOTHING_YET = ErrorAnswer(
    status=503,
    code="UNAVAILABLE",
    message="What the upstream server has is not known yet. Retry with back-off.",
    headers=(RETRY_SOON,),
)

_log = structlog.get_logger("server.gateway")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What one gateway runs with."""

    upstream: Upstream
    host: str
    port: int
    options: Options = field(default_factory=Options)
    cors_origins: Sequence[str] = ()


class _Served(NamedTuple):
    """All that one learning made; it is replaced as a whole."""

    fingerprint: str
    transcoder: Transcoder
    openapi: Document


class Gateway:
    """Serves what was learned last; calls in flight end with what they began with."""

    def __init__(self, channel: grpc.aio.Channel, options: Options, welcome: Callable[[Transcoder], None]) -> None:
        self._channel = channel
        self._options = options
        self._welcome = welcome
        self._served: _Served | None = None

    @property
    def has_routes(self) -> bool:
        """Tell whether anything was learned yet."""
        return self._served is not None

    async def learn(self, description: Description) -> None:
        """Serve what is described from now on. Raises `CannotLearn` when it cannot be served; then all stays."""
        before = self._served
        if before is not None and before.fingerprint == fingerprint_of(description):
            return
        self._served = served = await asyncio.to_thread(self._prepare, description)
        _log.info("routes_learned", routes=len(served.transcoder.routes), services=list(description.services))
        if before is None:
            self._welcome(served.transcoder)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request of the API."""
        served = self._served
        await (served.transcoder if served is not None else _nothing_yet)(scope, receive, send)

    async def openapi(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the OpenAPI document of what was learned."""
        served = self._served
        await (served.openapi if served is not None else _nothing_yet)(scope, receive, send)

    def _prepare(self, description: Description) -> _Served:
        catalogue = link(description)
        try:
            transcoder = Transcoder(catalogue.services, ChannelCaller(self._channel), self._options)
        except InvalidRoute as fault:
            raise CannotLearn(f"The upstream has google.api.http rules that cannot be served: {fault}.") from None
        document = Document(orjson.dumps(openapi_of(catalogue)), max_age=0)
        return _Served(catalogue.fingerprint, transcoder, document)


@asynccontextmanager
async def running(
    settings: Settings, *, welcome: Callable[[str, Transcoder], None], tell: Callable[[str], None]
) -> AsyncIterator[str]:
    """Run a gateway and yield its address; on leaving, let calls in flight end for some seconds.

    `welcome` gets the address and the routes when they are there for the first time, `tell` whatever keeps them away.

    Raises:
        OSError: the address cannot be listened on.
    """
    async with open_channel(settings.upstream) as channel:
        gateway = Gateway(channel, settings.options, lambda transcoder: welcome(server.address, transcoder))
        follower = Follower(channel, settings.upstream, gateway.learn, tell)
        web = _web(gateway, follower, settings)
        server = HttpServer(web, settings.host, settings.port)
        await server.start()
        following = asyncio.create_task(follower.run())
        try:
            yield server.address
        finally:
            await server.stop(_DRAIN_SECONDS)
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


def _web(gateway: Gateway, follower: Follower, settings: Settings) -> App:
    """Make the root of the port; its own pages stand before any route of the upstream's."""

    def ready() -> Mapping[str, bool]:
        return {"routes": gateway.has_routes, "upstream": follower.is_serving}

    pages: dict[str, App] = {"/healthz": _healthz, "/readyz": ReadyPage(ready), "/openapi.json": gateway.openapi}
    root: App = Guard(Pages(pages, gateway))
    origins = settings.cors_origins
    return Cors(root, origins, settings.options.request_headers) if origins else root


async def _healthz(scope: Scope, receive: Receive, send: Send) -> None:
    """Say that the process lives, whatever the upstream does."""
    await respond(scope, send, 200, b'{"status":"ok"}', (JSON,))


async def _nothing_yet(scope: Scope, receive: Receive, send: Send) -> None:
    await _NOTHING_YET.send(scope, send)
