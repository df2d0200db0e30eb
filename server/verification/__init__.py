"""Is this key good, now, for this? What internal services and proxies ask for every call of a partner."""
