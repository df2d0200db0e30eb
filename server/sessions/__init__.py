"""What the server remembers of a browser: who is signed in, and what is on its way."""
