"""The developer platform core: API keys over gRPC and REST on PostgreSQL. `docs/architecture.md` is the map."""
