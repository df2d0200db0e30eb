"""What a session shows of itself."""

from datetime import UTC, datetime

from server.sessions.service import Session


def test_a_session_does_not_print_what_it_holds() -> None:
    now = datetime.now(UTC)
    session = Session(subject="alice", content={"token": "hunter2"}, created_at=now, expires_at=now)
    assert "hunter2" not in repr(session)
