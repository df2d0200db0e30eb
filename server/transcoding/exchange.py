"""One HTTP request to a route: what its head says, and its body as a request of the RPC."""

from server.transcoding.asgi import Receive, Scope
from server.transcoding.binding import Request
from server.transcoding.body import GZIP, IDENTITY, read_body, read_lines, read_pieces
from server.transcoding.calls import Terms
from server.transcoding.endpoint import Endpoint
from server.transcoding.headers import HeaderRules, peer_of
from server.transcoding.media import ACCEPT_POST, ACCEPT_POST_LINES, JSON, Content, Kind, content_of
from server.transcoding.options import Options
from server.transcoding.streaming import RequestStream
from server.transcoding.violation import InvalidRequest, Refusal

_CODINGS = IDENTITY | GZIP
_LINES = Content(Kind.LINES, "")


class Exchange:
    """A request whose route is known. Making it raises `InvalidRequest` for headers that make no sense, `Refusal`."""

    __slots__ = ("_options", "_scope", "captures", "endpoint", "form", "headers", "query", "terms")

    def __init__(
        self, scope: Scope, endpoint: Endpoint, captures: tuple[str, ...], rules: HeaderRules, options: Options
    ) -> None:
        self._options = options
        self._scope = scope
        self.endpoint = endpoint
        self.captures = captures
        self.query: str = scope["query_string"].decode("latin-1")
        self.headers = rules.read(scope["headers"])
        self.form = endpoint.form_for(self.headers.accept)
        timeout = options.stream_timeout if endpoint.streams else options.timeout
        asked = self.headers.timeout
        if asked is not None:
            timeout = asked if timeout is None else min(timeout, asked)
        self.terms = Terms(self.headers.metadata, peer_of(scope.get("client")), timeout)

    async def read(self, receive: Receive) -> Request:
        """Read the body into a request. Raises `Gone`.

        What is wrong with the body as a whole (413, 415, bad gzip) is raised by whoever reads the request, so that
        interceptors have their say before.
        """
        content, body = JSON, b""
        refusal: Refusal | InvalidRequest | None = None
        try:
            body = await read_body(receive, self._coding(), self.headers.length, self._options.max_body)
            if body or self.endpoint.binding.is_raw:
                content = self._content()
        except (Refusal, InvalidRequest) as fault:
            refusal = fault
            self._tell("leave_body")
        return Request(self.endpoint.binding, self.captures, self.query, body, content, refusal)

    def begin_stream(self) -> None:
        """Check that the body is a stream of requests, which may be slow. Raises `Refusal` (415)."""
        self._coding()
        self._content()
        self._tell("let_body_last")

    def read_stream(self, receive: Receive) -> RequestStream:
        """Read the body as a stream of requests, as they come: lines, or raw bytes piece by piece."""
        binding, coding = self.endpoint.binding, self._coding()
        if binding.is_raw:
            pieces = read_pieces(receive, coding)
            return RequestStream(binding, self.captures, self.query, pieces, self._content())
        lines = read_lines(receive, coding, self._options.max_body)
        return RequestStream(binding, self.captures, self.query, lines)

    def _tell(self, what: str) -> None:
        """Tell a server that wants to know what becomes of the body: it is a stream, or it is not wanted."""
        told = self._scope.get("state", {}).get(what)
        if told is not None:
            told()

    def _coding(self) -> bytes:
        """Return how the body is compressed. Raises `Refusal` (415, as RFC 7694 section 3 has it)."""
        coding = self.headers.content_encoding
        if coding not in _CODINGS:
            sentence = "The body must be compressed by gzip or not at all."
            raise Refusal(415, "UNSUPPORTED_MEDIA_TYPE", sentence, [(b"accept-encoding", b"gzip")])
        return coding

    def _content(self) -> Content:
        """Return what the body is. Raises `Refusal` (415) for what cannot be read here (RFC 9110 section 15.5.16)."""
        streams = self.endpoint.route.rpc.client_streaming and not self.endpoint.binding.is_raw
        content = _LINES if streams and not self.headers.content_type else content_of(self.headers.content_type)
        if not self.endpoint.takes(content.kind):
            types = ACCEPT_POST_LINES if streams else ACCEPT_POST
            sentence = f"The body must be {types.decode('ascii').replace(', ', ' or ')}; text is in UTF-8."
            raise Refusal(415, "UNSUPPORTED_MEDIA_TYPE", sentence, [(b"accept-post", types)])
        return content
