"""OAuth clients: what developers register so that users can let their applications in."""
