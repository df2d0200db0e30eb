"""gRPC plumbing that every service shares: calls, their interceptors, statuses, servers, reflection and health."""
