"""The kitchen service behind a transcoder, for tests of the whole."""

from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio

from server.transcoding.app import Options, Transcoder
from server.transcoding.dispatch import Dispatcher
from tests.unit.transcoding.client import Client
from tests.unit.transcoding.kitchen import SERVICE, message

Handler = Callable[[Any, Any], Any]
NAME = "kitchen.v1.Kitchen"
JSON = [("content-type", "application/json")]


async def echo_sink(request: Any, _context: Any) -> Any:
    return request()


async def get_book(request: Any, _context: Any) -> Any:
    return message("Book")(name=request().name, title="t", tags=["x"])


async def search(request: Any, _context: Any) -> Any:
    request()
    return message("SearchResponse")(books=[message("Book")(name="a")]).SerializeToString()


def serve(
    interceptors: list[grpc.aio.ServerInterceptor] | None = None, options: Options | None = None, **handlers: Handler
) -> Client:
    """Serve the kitchen with these handlers over the usual ones, all registered without serializers."""
    usual: dict[str, Handler] = {"PutSink": echo_sink, "GetBook": get_book, "Search": search, "Titles": search}
    methods: dict[str, Any] = {name: _registered(name, handler) for name, handler in (usual | handlers).items()}
    generic = grpc.method_handlers_generic_handler(NAME, methods)
    return Client(Transcoder([SERVICE], Dispatcher([generic], interceptors or [], options), options))


def _registered(name: str, handler: Any) -> Any:
    method = SERVICE.methods_by_name[name]
    kinds = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }
    return kinds[method.client_streaming, method.server_streaming](handler)
