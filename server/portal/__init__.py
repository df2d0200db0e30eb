"""The Developer Portal: pages in a browser over the same methods that any client calls, with the user's own token."""
