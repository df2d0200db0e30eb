"""Passwords at rest, and how many are computed at a time."""

import asyncio

import pytest
from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

from server.errors import Overloaded
from server.users.passwords import Passwords

QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


async def test_a_hash_proves_its_password_and_no_other() -> None:
    passwords = Passwords(QUICK)
    hashed = await passwords.hash("a good password")
    assert await passwords.proves("a good password", hashed)
    assert not await passwords.proves("a good Password", hashed)


async def test_hashes_of_one_password_differ() -> None:
    passwords = Passwords(QUICK)
    assert await passwords.hash("a good password") != await passwords.hash("a good password")


async def test_the_profile_is_the_low_memory_one_of_rfc_9106() -> None:
    assert (await Passwords().hash("a good password")).startswith("$argon2id$v=19$m=65536,t=3,p=4$")


async def test_nobodys_password_is_refuted_by_a_whole_computation() -> None:
    passwords = Passwords(QUICK)
    assert not await passwords.proves("a good password", None)
    with pytest.raises(VerifyMismatchError):  # and not an error of the text, which would cost nothing
        QUICK.verify(passwords._dummy, "a good password")


async def test_text_that_is_no_hash_proves_nothing() -> None:
    assert not await Passwords(QUICK).proves("a good password", "*")


async def test_a_hash_of_other_parameters_is_outdated() -> None:
    passwords = Passwords(QUICK)
    assert not passwords.is_outdated(await passwords.hash("a good password"))
    assert Passwords().is_outdated(await passwords.hash("a good password"))


async def test_there_are_two_turns_and_a_bounded_queue() -> None:
    passwords, release, inside = Passwords(QUICK), asyncio.Event(), 0

    async def take_turn() -> None:
        nonlocal inside
        async with passwords.turn():
            inside += 1
            await release.wait()
            inside -= 1

    tasks = [asyncio.create_task(take_turn()) for _ in range(2 + 64)]
    for _ in range(3):
        await asyncio.sleep(0)
    assert inside == 2
    with pytest.raises(Overloaded):
        await take_turn()
    release.set()
    await asyncio.gather(*tasks)
    async with passwords.turn():  # and there is room again
        pass


async def test_whoever_stops_waiting_leaves_room() -> None:
    passwords = Passwords(QUICK)
    async with passwords.turn(), passwords.turn():
        waiting = asyncio.create_task(passwords.turn().__aenter__())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert passwords._waiting == 0
