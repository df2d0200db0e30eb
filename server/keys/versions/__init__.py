"""The secret versions of a key: which are in use, and the end of one that is not."""
