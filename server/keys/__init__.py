"""API keys: their lifecycle, their secrets and the service that manages them."""
