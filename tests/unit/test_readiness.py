from dataclasses import dataclass, field

from server.readiness import Readiness


@dataclass
class Part:
    """A part whose state the test sets; an exception is raised by its probe."""

    state: bool | Exception = True

    async def probe(self) -> bool:
        if isinstance(self.state, Exception):
            raise self.state
        return self.state


@dataclass
class Recorder:
    told: list[bool | str] = field(default_factory=list)

    async def follow(self, *, ready: bool) -> None:
        self.told.append(ready)

    async def drain(self) -> None:
        self.told.append("drain")


async def test_nothing_is_ready_before_the_first_probe() -> None:
    readiness = Readiness({"database": Part().probe}, [])

    assert readiness.snapshot() == {"database": False}


async def test_the_whole_is_ready_when_every_part_is() -> None:
    database, keys, recorder = Part(), Part(state=False), Recorder()
    readiness = Readiness({"database": database.probe, "keys": keys.probe}, [recorder])

    await readiness.probe()
    keys.state = True
    await readiness.probe()

    assert recorder.told == [False, True]
    assert readiness.snapshot() == {"database": True, "keys": True}


async def test_a_probe_that_fails_means_not_ready_and_the_next_one_counts() -> None:
    database, recorder = Part(state=RuntimeError("broken")), Recorder()
    readiness = Readiness({"database": database.probe}, [recorder])

    await readiness.probe()
    database.state = True
    await readiness.probe()

    assert recorder.told == [False, True]


async def test_draining_is_told_and_shown() -> None:
    recorder = Recorder()
    readiness = Readiness({"database": Part().probe}, [recorder])
    await readiness.probe()

    await readiness.drain()

    assert recorder.told == [True, "drain"]
    assert readiness.snapshot() == {"database": True, "accepting": False}
