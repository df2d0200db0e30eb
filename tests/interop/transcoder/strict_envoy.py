"""Real Envoy as a transcoder, as strict as it can be configured, in front of a gRPC server of this machine.

Envoy decides by its configuration how a stream is written, ours by Accept; so Envoy listens on three ports.
"""

import base64
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.rpc import error_details_pb2

from tests.interop.envoy import envoy
from tests.loopback import free_port

_TYPES = "type.googleapis.com/envoy.extensions"
_HTTP2 = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
FORMS: dict[str, dict[str, bool]] = {
    "application/json": {},
    "application/x-ndjson": {"stream_newline_delimited": True},
    "text/event-stream": {"stream_newline_delimited": True, "stream_sse_style_delimited": True},
}
"""The forms of a stream, and how Envoy is told to write each."""


@asynccontextmanager
async def strict_envoy(
    folder: Path, upstream: int, image: FileDescriptorSet, services: Sequence[str], *, max_body: int = 1024 * 1024
) -> AsyncIterator[dict[str, int]]:
    """Run it in front of the gRPC server on a port until the block ends; give its ports, by the form of streams.

    The details of errors are added to `image`, since Envoy shows no error that has a detail of a type it does not know.
    """
    ports = {form: free_port() for form in FORMS}
    configuration = folder / "transcoder.json"
    configuration.write_text(json.dumps(configuration_of([*ports.values()], upstream, image, services, max_body)))
    async with envoy(configuration, *ports.values()):
        yield ports


def configuration_of(
    ports: Sequence[int], upstream: int, image: FileDescriptorSet, services: Sequence[str], max_body: int = 1
) -> dict[str, Any]:
    """Return the configuration; the ports are for the forms in their order."""
    transcoder = _transcoder(image, services, max_body)
    listeners = [
        _listener(port, {**transcoder, "print_options": printing})
        for port, printing in zip(ports, FORMS.values(), strict=False)
    ]
    return {"static_resources": {"listeners": listeners, "clusters": [_cluster(upstream)]}}


def _transcoder(image: FileDescriptorSet, services: Sequence[str], max_body: int) -> dict[str, Any]:
    known = FileDescriptorSet()
    known.CopyFrom(image)
    error_details_pb2.DESCRIPTOR.CopyToProto(known.file.add())
    return {
        "@type": f"{_TYPES}.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder",
        "proto_descriptor_bin": base64.b64encode(known.SerializeToString()).decode(),
        "services": list(services),
        "convert_grpc_status": True,
        "query_param_unescape_plus": True,
        "url_unescape_spec": "ALL_CHARACTERS_EXCEPT_SLASH",
        "max_request_body_size": max_body,
        "request_validation_options": {
            "reject_unknown_method": True,
            "reject_unknown_query_parameters": True,
            "reject_binding_body_field_collisions": True,
        },
    }


def _listener(port: int, transcoder: dict[str, Any]) -> dict[str, Any]:
    router = {"@type": f"{_TYPES}.filters.http.router.v3.Router"}
    route = {"cluster": "upstream", "timeout": "0s", "max_stream_duration": {"grpc_timeout_header_max": "30s"}}
    manager = {
        "@type": f"{_TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "http",
        "generate_request_id": False,
        "http_filters": [
            {"name": "envoy.filters.http.grpc_json_transcoder", "typed_config": transcoder},
            {"name": "envoy.filters.http.router", "typed_config": router},
        ],
        "route_config": {
            "virtual_hosts": [
                {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": route}]},
            ]
        },
    }
    chain = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    return {"name": f"port {port}", "address": _address(port), "filter_chains": [{"filters": chain}]}


def _cluster(port: int) -> dict[str, Any]:
    return {
        "name": "upstream",
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": "upstream",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(port)}}]}],
        },
        "typed_extension_protocol_options": {
            _HTTP2: {
                "@type": f"type.googleapis.com/{_HTTP2}",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        },
    }


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
