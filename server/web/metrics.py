"""The metrics port's ASGI app: `GET /metrics` for Prometheus and nothing else. Never mounted on the public port."""

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.exposition import choose_encoder

from server.web.answers import NOT_FOUND, method_not_allowed
from server.web.asgi import App, Receive, Scope, Send, header_values, respond
from server.web.guard import Guard


def metrics_app(registry: CollectorRegistry = REGISTRY) -> App:
    """Build the app that writes out `registry`, in the text format or OpenMetrics as the scraper's Accept asks."""
    refusal = method_not_allowed("GET", "HEAD")

    async def metrics(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] != "/metrics":
            await NOT_FOUND.send(scope, send)
        elif scope["method"] not in ("GET", "HEAD"):
            await refusal.send(scope, send)
        else:
            encode, content_type = choose_encoder(b",".join(header_values(scope, b"accept")).decode("latin-1"))
            await respond(scope, send, 200, encode(registry), ((b"content-type", content_type.encode()),))

    return Guard(metrics)
