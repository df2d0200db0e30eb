"""Rate limits: how many calls a credential may make, and what its headers say about it."""
