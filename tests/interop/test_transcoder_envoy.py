"""Our transcoder beside real Envoy's, with the same handlers behind both: what differs was chosen and is listed."""

import asyncio
import json
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from google.rpc import code_pb2

from tests.interop.envoy import envoy_binary
from tests.interop.tools import ROOT, run_tool
from tests.interop.transcoder.case import Case, get, judge
from tests.interop.transcoder.cases import CASES, IDS
from tests.interop.transcoder.cases_ends import FAILURES
from tests.interop.transcoder.fixture import BEYOND_ENVOY, FILES, HANGING
from tests.interop.transcoder.fronts import Front, envoys, ours
from tests.interop.transcoder.strict_envoy import configuration_of

pytestmark = pytest.mark.interop

TABLES = Path(__file__).parent / "transcoder"
DIFFERENCES = tomllib.loads((TABLES / "differences.toml").read_text())["difference"]
HOW = {case: difference["how"] for difference in DIFFERENCES for case in difference["cases"]}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def envoy_front(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Front]:
    async with envoys(tmp_path_factory.mktemp("envoy")) as front:
        yield front


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def our_front() -> AsyncIterator[Front]:
    async with ours() as front:
        yield front


def test_every_case_has_a_name_of_its_own() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)


def test_every_difference_is_of_one_case_there_is() -> None:
    listed = [case for difference in DIFFERENCES for case in difference["cases"]]
    assert len(set(listed)) == len(listed)
    assert set(listed) <= {case.name for case in CASES}
    assert all(difference["reason"] for difference in DIFFERENCES)


def test_every_end_to_end_difference_is_of_a_test_there_is() -> None:
    listed = tomllib.loads((TABLES / "differences_e2e.toml").read_text())["difference"]
    for case in (case for difference in listed for case in difference["cases"]):
        file, _, name = case.removesuffix("[envoy]").partition("::")
        assert f"async def {name}(" in (ROOT / "tests" / "e2e" / file).read_text()


@pytest.mark.parametrize("case", CASES, ids=IDS)
async def test_both_say_the_same_or_differ_as_we_chose(case: Case, envoy_front: Front, our_front: Front) -> None:
    envoy = await envoy_front.send(case.request(case.body), case.form)
    own = await our_front.send(case.request(case.body if case.to_ours is None else case.to_ours), case.form)

    verdict = judge(envoy, own)

    told = f"{case.name}\nEnvoy and ours: {verdict.differs}\n{envoy.body[:500]!r}\n{own.body[:500]!r}"
    assert verdict.how == HOW.get(case.name, ""), told


@pytest.mark.parametrize("case", FAILURES, ids=lambda case: case.target)
async def test_an_error_says_what_envoy_says_of_it(case: Case, envoy_front: Front, our_front: Front) -> None:
    envoy = await envoy_front.send(case.request(b""))
    own = await our_front.send(case.request(b""))

    said, told = json.loads(envoy.body), json.loads(own.body)

    details = {detail["@type"].rpartition(".")[2]: detail for detail in said.get("details", [])}
    violations = details.pop("BadRequest", {}).get("fieldViolations", [])
    retry = details.pop("RetryInfo", {}).get("retryDelay", "")
    assert told["code"] == code_pb2.Code.Name(said["code"])
    assert told["message"] == ("message: is bad" if violations else said.get("message", ""))
    assert told.get("violations", []) == violations
    assert own.headers.get("retry-after", "") == retry.removesuffix("s")
    assert told.get("details", []) == [*details.values()]


async def test_details_of_unknown_types_are_left_out_and_the_rest_is_told(envoy_front: Front, our_front: Front) -> None:
    request = get("/e/fail/5?message=m&details=strange&details=help").request(b"")

    envoy, own = await envoy_front.send(request), await our_front.send(request)

    assert envoy.body == b""
    told = json.loads(own.body)
    assert (told["code"], told["message"]) == ("NOT_FOUND", "m")
    assert [detail["@type"] for detail in told["details"]] == ["type.googleapis.com/google.rpc.Help"]


async def test_metadata_leave_by_an_allow_list(envoy_front: Front, our_front: Front) -> None:
    request = get("/e/tell").request(b"")

    envoy, own = await envoy_front.send(request), await our_front.send(request)

    for name in ("etag", "location", "x-ratelimit-limit"):
        assert own.headers[name] == envoy.headers[name]
    unlisted = {"x-secret", "grpc-status", "grpc-message", "grpc-accept-encoding"}
    assert unlisted <= set(envoy.headers)
    assert not unlisted & set(own.headers)


async def test_a_client_that_goes_away_cancels_the_call(envoy_front: Front, our_front: Front) -> None:
    for front in (envoy_front, our_front):
        while not HANGING.empty():  # calls that ended at their deadlines
            HANGING.get_nowait()
        async with front.sending(get("/e/hang").request(b"")):
            ended = await asyncio.wait_for(HANGING.get(), 10)
            assert not ended.is_set()

        await asyncio.wait_for(ended.wait(), 10)


async def test_envoy_does_not_start_with_parts_of_answers(tmp_path: Path) -> None:
    configuration = tmp_path / "transcoder.json"
    configuration.write_text(json.dumps(configuration_of([1], 1, FILES, [BEYOND_ENVOY.full_name])))

    outcome = await run_tool(envoy_binary(), "--mode", "validate", "--config-path", configuration)

    assert outcome.exit_code != 0
    assert 'Setting "response_body" is not supported yet for non-HttpBody fields' in outcome.stderr
