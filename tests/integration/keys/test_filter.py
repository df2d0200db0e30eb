"""Lists of keys that are filtered: what passes, how it is paged, and what its page tokens are good for."""

from pathlib import Path

import pytest

from server.errors import InvalidRequest
from server.ids import DeveloperId
from server.keys import service as service_module
from server.keys.filter import EVERY_KEY, KeyFilter
from server.keys.model import ApiKey, Environment, Status
from server.keys.service import KeyService
from server.paging import PageTokens
from server.postgres.pool import Database
from server.postgres.queries import load
from tests.integration.keys.vault import PEPPERS, acting, wish

NAMES = ("Production", "100% sure", "under_score", "back\\slash", "تطبيق الموسيقى", "Ünïcode", "produced in TEST")


async def _make(keys: KeyService, developer_id: DeveloperId) -> dict[str, ApiKey]:
    """Make a key of each name, by turns live and test; the first two are revoked."""
    made = {}
    for number, name in enumerate(NAMES):
        environment = (Environment.LIVE, Environment.TEST)[number % 2]
        made[name] = (await keys.create(acting(developer_id), wish(name, environment=environment))).key
    for name in NAMES[:2]:
        made[name] = await keys.revoke(acting(developer_id), made[name].id)
    return made


async def _names(keys: KeyService, developer_id: DeveloperId, wanted: KeyFilter) -> list[str]:
    found, token = await keys.list(developer_id, 100, "", wanted)
    assert token == ""
    return [key.name for key in found]


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (EVERY_KEY, NAMES[::-1]),
        (KeyFilter(status=Status.REVOKED), ["100% sure", "Production"]),
        (KeyFilter(status=Status.ACTIVE), NAMES[:1:-1]),
        (KeyFilter(environment=Environment.LIVE), NAMES[::-2]),
        (KeyFilter(environment=Environment.TEST), NAMES[-2::-2]),
        (KeyFilter(status=Status.REVOKED, environment=Environment.LIVE), ["Production"]),
        (KeyFilter(query="PROD"), ["produced in TEST", "Production"]),
        (KeyFilter(query="prod", status=Status.ACTIVE), ["produced in TEST"]),
        (KeyFilter(query="الموس"), ["تطبيق الموسيقى"]),
        (KeyFilter(query="%"), ["100% sure"]),
        (KeyFilter(query="_"), ["under_score"]),
        (KeyFilter(query="\\"), ["back\\slash"]),
        (KeyFilter(query="Pro%on"), []),
        (KeyFilter(query="ang_live_"), NAMES[::-2]),
        (KeyFilter(query="ang_test_"), NAMES[-2::-2]),
        (KeyFilter(query="ANG_test_"), []),
        (KeyFilter(query="ng_test_"), []),
        (KeyFilter(query="' OR true --"), []),
    ],
)
async def test_only_keys_that_pass_are_listed(
    keys: KeyService, alice: DeveloperId, bob: DeveloperId, wanted: KeyFilter, names: list[str]
) -> None:
    await keys.create(acting(bob), wish("Production of bob"))
    await _make(keys, alice)
    assert await _names(keys, alice, wanted) == list(names)


async def test_letters_beyond_ascii_are_folded_where_the_databases_locale_does(
    keys: KeyService, alice: DeveloperId, database: Database
) -> None:
    row = await database.fetchrow("SELECT lower('Ü') = 'ü' AS folds")
    assert row
    await _make(keys, alice)
    assert await _names(keys, alice, KeyFilter(query="ünï")) == (["Ünïcode"] if row["folds"] else [])
    assert await _names(keys, alice, KeyFilter(query="Ünï")) == ["Ünïcode"]


async def test_a_key_is_found_by_its_whole_prefix(keys: KeyService, alice: DeveloperId) -> None:
    made = await _make(keys, alice)
    wanted = KeyFilter(query=made["Production"].key_prefix)
    assert await _names(keys, alice, wanted) == ["Production"]


async def test_a_filtered_list_is_paged_without_gaps_while_keys_come_and_go(
    keys: KeyService, alice: DeveloperId
) -> None:
    for number in range(14):
        await keys.create(acting(alice), wish(f"{'odd' if number % 2 else 'even'} {number}"))
    seen, token, wanted = [], "", KeyFilter(query="odd")
    while True:
        page, token = await keys.list(alice, 3, token, wanted)
        seen += [key.name for key in page]
        await keys.create(acting(alice), wish("odd and late"))
        if not token:
            break
        assert len(page) == 3
    assert seen == [f"odd {number}" for number in range(13, 0, -2)]


async def test_a_page_token_goes_with_its_filter_alone(keys: KeyService, alice: DeveloperId, bob: DeveloperId) -> None:
    filters = [
        EVERY_KEY,
        KeyFilter(status=Status.ACTIVE),
        KeyFilter(environment=Environment.TEST),
        KeyFilter(query="key"),
        KeyFilter(query="Key"),
        KeyFilter(query="key", status=Status.ACTIVE),
        KeyFilter(query='", "k'),
    ]
    for number in range(3):
        await keys.create(acting(alice), wish(f"key Key {number}"))
    tokens = PageTokens(PEPPERS, "ListApiKeys")
    for mine in filters:
        page, _ = await keys.list(alice, 1, "")
        token = tokens.after(mine.list_of(alice), page[0].created_at, page[0].id)
        for other in filters:
            if other is mine:
                await keys.list(alice, 1, token, other)
                continue
            with pytest.raises(InvalidRequest, match="page_token"):
                await keys.list(alice, 1, token, other)
        with pytest.raises(InvalidRequest, match="page_token"):
            await keys.list(bob, 1, token, mine)


async def test_a_token_from_before_there_were_filters_is_still_good(keys: KeyService, alice: DeveloperId) -> None:
    made = [(await keys.create(acting(alice), wish(str(number)))).key for number in range(3)]
    older = PageTokens(PEPPERS, "ListApiKeys").after(alice, made[1].created_at, made[1].id)
    assert await keys.list(alice, 5, older) == ([made[0]], "")


async def test_a_query_that_no_name_can_hold_is_refused(keys: KeyService, alice: DeveloperId) -> None:
    with pytest.raises(InvalidRequest, match="query"):
        await keys.list(alice, 0, "", KeyFilter(query="a\0b"))


async def test_a_page_of_ten_thousand_keys_is_one_walk_along_the_index(database: Database, alice: DeveloperId) -> None:
    await database.execute(
        "INSERT INTO api_keys (id, developer_id, name, environment, scopes, key_prefix, created_at)"
        " SELECT 'key_' || n, $1, 'Key number ' || n, 'live', '{read}', 'ang_live_' || n, clock() - n * interval '1 s'"
        " FROM generate_series(1, 10000) AS n",
        alice,
    )
    await database.execute("ANALYZE api_keys")
    keys = KeyService(database, PEPPERS, default_environment=Environment.LIVE, rotation_grace=None)  # type: ignore[arg-type]
    page, token = await keys.list(alice, 20, "", KeyFilter(query="NUMBER 99", status=Status.ACTIVE))
    assert (len(page), bool(token)) == (20, True)
    found, token = await keys.list(alice, 20, "", KeyFilter(query="number 10000"))
    assert ([key.name for key in found], token) == (["Key number 10000"], "")
    statement = load(Path(service_module.__file__).with_name("queries.sql"))["list_matching_keys"]
    for position in ((None, None), (page[0].created_at, page[0].id)):
        arguments = (alice, 21, *position, False, None, "number 10000")
        plan = await database.fetchrow(f"EXPLAIN (FORMAT JSON) {statement}", *arguments)
        assert plan
        assert "api_keys_newest_first" in plan[0]
        assert "Sort" not in plan[0]
