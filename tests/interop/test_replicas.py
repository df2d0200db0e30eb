"""Two replicas behind the real Envoy, over Debian's PostgreSQL and a Valkey, loaded by ghz; one of them is killed."""

from collections import Counter

import pytest

from bench.checker import Calls
from bench.replicas import Plan, Report, run, told

pytestmark = pytest.mark.interop

_WITHIN_SECONDS = 1.0


async def test_no_answer_is_wrong_while_one_of_two_replicas_is_killed() -> None:
    plan = Plan(both=5, one=5, again=5, burst=30)

    report = await run(plan)

    print(told(report))
    assert report.wrong == []
    assert report.answers > 500
    both, one, again = report.phases
    assert min(both.rate, one.rate, again.rate) > 50
    assert not both.failures
    assert one.failures.total() <= plan.at_a_time  # those that it had not answered yet
    assert not again.failures
    assert report.failed[0] == 0  # the one that lives
    assert min(report.served) > 500
    assert all(len(ends) >= 3 for ends in report.ends.values())
    assert max(end.late for ends in report.ends.values() for end in ends) < _WITHIN_SECONDS
    assert report.counted["ghz"]["valid"] > 1_000
    assert report.counted["check.again"].keys() > {"valid", "revoked", "rotated_out", "rate_limited"}


async def test_replicas_that_do_not_hear_of_one_another_are_found_out() -> None:
    report = await run(Plan(both=4, one=0.5, again=4.5, burst=30, apart=True))

    print(told(report))
    assert "check.both: a limit of 30 let 60 of 120 calls at once in" in report.wrong
    assert max(end.late for end in report.ends["revoked"]) > _WITHIN_SECONDS


@pytest.mark.parametrize(
    ("answered", "counted", "at_risk", "blamed"),
    [
        (10, 10, 0, False),
        (10, 8, 2, False),
        (10, 12, 0, False),  # answers of a killed server, lost on their way
        (10, 8, 1, True),
        (10, 13, 5, True),
    ],
)
def test_counts_that_cannot_be_are_found_out(answered: int, counted: int, at_risk: int, blamed: bool) -> None:
    report = Report(
        phases=[],
        calls={"ghz": Calls(sent=12, counted=answered)},
        failures=Counter(),
        ends={},
        served=[],
        failed=[],
        at_risk=at_risk,
        local_decisions=0,
        wrong=[],
        machine="",
        counted={"ghz": Counter(valid=counted)},
    )

    report.judge()

    assert bool(report.wrong) == blamed
