"""The directory of OAuth clients: what a token issuer asks about them."""
