"""The secret of an API key: `ang_live_…` or `ang_test_…`, by the environment it works in (`server/secret.py`)."""

from server.keys.model import Environment
from server.secret import Secret, SecretFormat, draw_secret

find_prefix = SecretFormat(*(environment.value for environment in Environment)).find_prefix


def draw(environment: Environment) -> Secret:
    """Draw a new key."""
    return draw_secret(environment.value)
