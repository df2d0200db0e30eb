"""Developers: whose keys they are, and who may become one."""
