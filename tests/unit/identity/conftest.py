from collections.abc import Callable, Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from server.errors import Unauthenticated
from server.identity.jwks import StaticKeySet
from server.identity.tokens import REFUSED, TokenVerifier
from tests.unit.identity.forge import AUDIENCE, ISSUER, NOW, Forge

MakeVerifier = Callable[..., TokenVerifier]


@pytest.fixture(autouse=True)
def log() -> Iterator[list[Any]]:
    """What was logged during the test, for every test: nothing is printed."""
    with capture_logs() as lines:
        yield lines


@pytest.fixture(scope="session")
def forge() -> Forge:
    return Forge()


@pytest.fixture(scope="session")
def stranger() -> Forge:
    """Another key that pretends to be ours."""
    return Forge()


@pytest.fixture(scope="session")
def make_verifier(forge: Forge) -> MakeVerifier:
    def make(**changes: Any) -> TokenVerifier:
        settings = {
            "issuer": ISSUER,
            "audience": AUDIENCE,
            "keys": StaticKeySet({"keys": [forge.jwk()]}),
            "clock": lambda: float(NOW),
        }
        return TokenVerifier(**{**settings, **changes})

    return make


async def refusal(verifier: TokenVerifier, token: str) -> str:
    """Check that a token is refused like every other and return the reason, which only the log tells."""
    with capture_logs() as lines, pytest.raises(Unauthenticated) as caught:
        await verifier.verify(token)
    assert caught.value.message == REFUSED
    assert caught.value.sent
    (line,) = lines
    assert line.keys() == {"event", "reason", "log_level"}
    return str(line["reason"])
