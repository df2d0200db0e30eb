"""The gateway as a whole: what is served now, the pages beside it, and everything that runs together."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import grpc.aio
import structlog

from server.gateway.access_log import AccessLog, NotingCaller
from server.gateway.catalogue import fingerprint_of, link, openapi_json
from server.gateway.files import CannotLearn
from server.gateway.follower import Follower
from server.gateway.reflection import Description
from server.gateway.upstream import Upstream, open_channel
from server.transcoding.app import Options, Transcoder
from server.transcoding.channel import ChannelCaller
from server.web.answers import RETRY_SOON, ErrorAnswer
from server.web.app import Document, Pages, ReadyPage
from server.web.asgi import JSON, App, Receive, Scope, Send, respond
from server.web.cors import Cors
from server.web.guard import Guard
from server.web.server import HttpServer

_DRAIN_SECONDS = 4.0
_HEALTHZ, _READYZ, _OPENAPI = "/healthz", "/readyz", "/openapi.json"
_NOTHING_YET = ErrorAnswer(
    status=503,
    code="UNAVAILABLE",
    message="What the upstream server has is not known yet. Retry with back-off.",
    headers=(RETRY_SOON,),
)
_NO_DOCUMENT = ErrorAnswer(
    status=503, code="UNAVAILABLE", message="The OpenAPI document of what the upstream server has cannot be made."
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
    """All that one learning made; it is replaced as a whole. `remarks` are for the operator."""

    fingerprint: str
    transcoder: Transcoder
    openapi: App
    remarks: tuple[str, ...]


class Gateway:
    """Serves what was learned last; calls in flight end with what they began with.

    `welcome` gets the first routes that are learned, `tell` what is amiss with those of each learning.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        options: Options,
        welcome: Callable[[Transcoder], None],
        tell: Callable[[str], None],
    ) -> None:
        self._channel = channel
        self._options = options
        self._welcome = welcome
        self._tell = tell
        self._served: _Served | None = None

    @property
    def has_routes(self) -> bool:
        """Tell whether anything was learned yet."""
        return self._served is not None

    async def learn(self, description: Description) -> None:
        """Serve what is described from now on. Raises `CannotLearn` when it cannot be served; then all stays."""
        is_first = self._served is None
        served = await asyncio.to_thread(self._prepare, description)
        if served is None:
            return
        self._served = served
        _log.info("routes_learned", routes=len(served.transcoder.routes), services=list(description.services))
        if is_first:
            self._welcome(served.transcoder)
        for remark in served.remarks:
            _log.warning("routes_remarked", remark=remark)
            self._tell(remark)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request of the API."""
        served = self._served
        await (served.transcoder if served is not None else _nothing_yet)(scope, receive, send)

    async def openapi(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the OpenAPI document of what was learned."""
        served = self._served
        await (served.openapi if served is not None else _nothing_yet)(scope, receive, send)

    def _prepare(self, description: Description) -> _Served | None:
        """Make what is to be served; None when that is served already. It takes its time: not for the event loop."""
        if self._served is not None and self._served.fingerprint == fingerprint_of(description):
            return None
        catalogue = link(description)
        try:
            transcoder = Transcoder(catalogue.services, NotingCaller(ChannelCaller(self._channel)), self._options)
        except UnicodeDecodeError:
            raise CannotLearn("The upstream's proto files have names of fields that are not UTF-8.") from None
        remarks = list(_remarks(transcoder))
        openapi: App = _no_document
        try:
            openapi = Document(openapi_json(catalogue), max_age=0)
        except CannotLearn as fault:  # which is no reason not to serve them
            remarks.append(f"{fault} The routes are served, but {_OPENAPI} answers 503.")
        return _Served(catalogue.fingerprint, transcoder, openapi, tuple(remarks))


def _remarks(transcoder: Transcoder) -> Iterator[str]:
    """Yield what the operator should know of the routes."""
    if hidden := [path for path in (_HEALTHZ, _READYZ, _OPENAPI) if transcoder.owns(path)]:
        yield f"The upstream's routes at {', '.join(hidden)} are hidden by the gateway's own pages."


@asynccontextmanager
async def running(
    settings: Settings, *, welcome: Callable[[str, Transcoder], None], tell: Callable[[str], None]
) -> AsyncIterator[str]:
    """Run a gateway and yield its address; on leaving, let calls in flight end for some seconds.

    `welcome` gets the address and the routes when they are there for the first time, `tell` whatever keeps them away or
    is amiss with them.

    Raises:
        OSError: the address cannot be listened on.
    """
    async with open_channel(settings.upstream) as channel:
        gateway = Gateway(channel, settings.options, lambda transcoder: welcome(server.address, transcoder), tell)
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

    pages: dict[str, App] = {_HEALTHZ: _healthz, _READYZ: ReadyPage(ready), _OPENAPI: gateway.openapi}
    root: App = Guard(Pages(pages, AccessLog(gateway)))
    origins = settings.cors_origins
    return Cors(root, origins, settings.options.request_headers) if origins else root


async def _healthz(scope: Scope, receive: Receive, send: Send) -> None:
    """Say that the process lives, whatever the upstream does."""
    await respond(scope, send, 200, b'{"status":"ok"}', (JSON,))


async def _nothing_yet(scope: Scope, receive: Receive, send: Send) -> None:
    await _NOTHING_YET.send(scope, send)


async def _no_document(scope: Scope, receive: Receive, send: Send) -> None:
    await _NO_DOCUMENT.send(scope, send)
