"""Keeping processes up, with programs small enough to see through. Each gets its number and our pid as arguments."""

import asyncio
import errno
import os
import signal
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from server import workers
from server.workers import Workers, WorkersError, _metrics_folder

_SERVE = "echo ready; exec sleep 60"
_ENVIRONMENT: Mapping[str, str] = {"PATH": os.defpath}


def _workers(script: str, folder: Path, count: int = 2) -> tuple[Workers, CollectorRegistry]:
    """Make workers of a shell script, which sees its number as $0."""
    registry = CollectorRegistry()
    environment = {**_ENVIRONMENT, "PROMETHEUS_MULTIPROC_DIR": str(folder), "FOLDER": str(folder)}
    return Workers(["/bin/sh", "-c", script], count, environment, registry), registry


@pytest.fixture(autouse=True)
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait less."""
    monkeypatch.setattr(workers, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(workers, "_DRAIN_SECONDS", 0.5)
    monkeypatch.setattr(workers, "_START_SECONDS", 0.5)


async def _until_pids_change(crew: Workers, before: Mapping[int, int]) -> Mapping[int, int]:
    async with asyncio.timeout(5):
        while crew.pids.keys() != before.keys() or crew.pids == before:
            await asyncio.sleep(0.01)
    return dict(crew.pids)


def _is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


async def test_all_run_within_the_block_and_none_after_it(tmp_path: Path) -> None:
    crew, registry = _workers(_SERVE, tmp_path, count=3)

    async with crew.serving():
        pids = dict(crew.pids)
        assert registry.get_sample_value("developer_workers") == 3

    assert sorted(pids) == [0, 1, 2]
    assert all(map(_is_gone, pids.values()))
    assert registry.get_sample_value("developer_workers") == 0
    assert registry.get_sample_value("developer_workers_ended_total") == 0


async def test_one_that_dies_is_replaced_again_and_again(tmp_path: Path) -> None:
    crew, registry = _workers(_SERVE, tmp_path)

    async with crew.serving():
        for deaths in range(1, workers._TRIES + 3):
            before = dict(crew.pids)
            os.kill(before[0], signal.SIGKILL)
            after = await _until_pids_change(crew, before)
            assert after[1] == before[1]
            assert registry.get_sample_value("developer_workers_ended_total") == deaths


async def test_what_the_dead_left_in_live_gauges_is_removed(tmp_path: Path) -> None:
    crew, _ = _workers('touch "$FOLDER/gauge_livesum_$0.db" "$FOLDER/counter_$0.db"; ' + _SERVE, tmp_path)

    async with crew.serving():
        pass

    assert sorted(path.name for path in tmp_path.iterdir()) == ["counter_0.db", "counter_1.db"]


async def test_a_refusal_at_the_start_ends_everything_at_once(tmp_path: Path) -> None:
    crew, registry = _workers(f'[ "$0" = 1 ] && exit 1; {_SERVE}', tmp_path)

    with pytest.raises(WorkersError, match=r"Worker 1 .*status 1"):
        async with crew.serving():
            pytest.fail("not all of them serve")

    assert registry.get_sample_value("developer_workers_ended_total") == 1
    assert crew.pids == {}


@pytest.mark.parametrize("script", ["exit 3", "echo nonsense; exec sleep 60", "exec sleep 60", "kill -9 $$"])
async def test_a_start_that_never_succeeds_is_given_up(tmp_path: Path, script: str) -> None:
    crew, registry = _workers(script, tmp_path, count=1)

    with pytest.raises(WorkersError, match="Worker 0"):
        async with crew.serving():
            pytest.fail("it does not serve")

    assert registry.get_sample_value("developer_workers_ended_total") == workers._TRIES


async def test_a_start_that_succeeds_in_the_end_is_waited_for(tmp_path: Path) -> None:
    crew, _ = _workers(f'[ -e "$FOLDER/tried" ] || {{ touch "$FOLDER/tried"; exit 3; }}; {_SERVE}', tmp_path, count=1)

    async with crew.serving():
        assert list(crew.pids) == [0]


async def test_once_all_have_served_no_failure_is_final(tmp_path: Path) -> None:
    crew, registry = _workers(f'[ -e "$FOLDER/broken" ] && exit 1; {_SERVE}', tmp_path)

    async with crew.serving():
        (tmp_path / "broken").touch()
        before = dict(crew.pids)
        os.kill(before[0], signal.SIGKILL)
        async with asyncio.timeout(5):
            while (registry.get_sample_value("developer_workers_ended_total") or 0) < workers._TRIES + 2:
                await asyncio.sleep(0.01)
        assert crew.pids == {1: before[1]}

        (tmp_path / "broken").unlink()
        await _until_pids_change(crew, before)


async def test_a_thousand_failures_are_not_final_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_FIRST_PAUSE", 1e-9)
    monkeypatch.setattr(workers, "_LONGEST_PAUSE", 1e-9)
    crew, _ = _workers(_SERVE, tmp_path)
    spawn, failures, enough = crew._spawn, 0, asyncio.Event()

    async def fail(number: int) -> asyncio.subprocess.Process:
        nonlocal failures
        failures += 1
        if failures > 1_100:
            enough.set()
            return await spawn(number)
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    async with crew.serving():
        before = dict(crew.pids)
        monkeypatch.setattr(crew, "_spawn", fail)
        os.kill(before[0], signal.SIGKILL)
        async with asyncio.timeout(10):
            await enough.wait()
        await _until_pids_change(crew, before)


async def test_a_program_that_cannot_be_started_is_given_up(tmp_path: Path) -> None:
    environment = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    crew = Workers([str(tmp_path / "absent")], 1, environment, CollectorRegistry())

    with pytest.raises(WorkersError, match="Worker 0"):
        async with crew.serving():
            pytest.fail("there is nothing to serve")


async def test_one_that_does_not_end_when_asked_is_killed(tmp_path: Path) -> None:
    crew, _ = _workers("trap '' TERM; echo ready; while :; do sleep 0.05; done", tmp_path)

    async with crew.serving():
        pids = dict(crew.pids)

    assert all(map(_is_gone, pids.values()))


async def test_a_fault_in_the_block_ends_the_workers_and_stays_itself(tmp_path: Path) -> None:
    crew, _ = _workers(_SERVE, tmp_path)
    pids: list[int] = []

    async def serve_badly() -> None:
        async with crew.serving():
            pids.extend(crew.pids.values())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await serve_badly()

    assert len(pids) == 2
    assert all(map(_is_gone, pids))


def test_a_folder_for_metrics_goes_with_its_maker_or_when_the_next_one_comes(tmp_path: Path) -> None:
    abandoned = tmp_path / "developer-metrics-abandoned"
    abandoned.mkdir()
    (abandoned / "lock").touch()  # which nobody holds any more

    with _metrics_folder(tmp_path) as folder, _metrics_folder(tmp_path) as other:
        assert Path(folder).stat().st_mode & 0o777 == 0o700
        assert {str(path) for path in tmp_path.iterdir()} == {folder, other}

    assert list(tmp_path.iterdir()) == []


def test_a_planted_lock_does_not_hang_the_start(tmp_path: Path) -> None:
    planted = tmp_path / "developer-metrics-planted"
    planted.mkdir()
    os.mkfifo(planted / "lock")

    def start() -> None:
        with _metrics_folder(tmp_path):
            pass

    starting = threading.Thread(target=start, daemon=True)
    starting.start()
    starting.join(5)
    assert not starting.is_alive()


def test_a_folder_or_lock_that_is_not_ours_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "lock").touch()
    linked, redirected, foreign = (
        tmp_path / f"developer-metrics-{name}" for name in ("linked", "redirected", "foreign")
    )
    linked.symlink_to(target)
    redirected.mkdir()
    (redirected / "lock").symlink_to(target / "lock")

    with _metrics_folder(tmp_path):
        assert (target / "lock").exists()
        assert redirected.exists()

    foreign.mkdir()
    (foreign / "lock").touch()
    with monkeypatch.context() as other_user:
        other_user.setattr(os, "geteuid", lambda: foreign.stat().st_uid + 1)
        with _metrics_folder(tmp_path):
            assert foreign.exists()
    with _metrics_folder(tmp_path):
        assert not foreign.exists()
