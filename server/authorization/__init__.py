"""The local authorization server: OAuth clients ask users for access here and get their tokens."""
