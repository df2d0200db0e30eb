"""People who sign in at the local issuer by a password."""
