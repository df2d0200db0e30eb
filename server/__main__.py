"""`python -m server`: the commands of `cli.py`."""

import sys

try:
    from server.cli import app

    app(prog_name="python -m server")
except KeyboardInterrupt:  # before the server listens for signals, or in a command that does not
    sys.exit(130)
