"""The checks behind a verdict, and their order."""

from dataclasses import replace
from typing import Any

import pytest
from sdk.verification.v1 import verdict_pb2

from server.verification.model import KnownKey, Question
from server.verification.verdict import Verdict, explain, judge
from tests.unit.verification.entries import entry_of

GOOD: KnownKey = replace(entry_of("a").key, scopes=frozenset({"read", "stream"}))

FAULTS: list[tuple[Verdict, dict[str, Any], Question]] = [
    (Verdict.REVOKED, {"revoked": True}, Question()),
    (Verdict.EXPIRED, {"expired": True}, Question()),
    (Verdict.ROTATED_OUT, {"rotated_out": True}, Question()),
    (Verdict.DEVELOPER_SUSPENDED, {"suspended": True}, Question()),
    (Verdict.ENVIRONMENT_MISMATCH, {}, Question(environment="test")),
    (Verdict.INSUFFICIENT_SCOPE, {}, Question(required_scopes=("read", "write"))),
]


@pytest.mark.parametrize(
    "question", [Question(), Question(environment="live"), Question(required_scopes=("stream", "read"))]
)
def test_a_good_key_is_valid(question: Question) -> None:
    assert judge(GOOD, question) is Verdict.VALID


@pytest.mark.parametrize(("verdict", "state", "question"), FAULTS)
def test_each_fault_has_its_verdict(verdict: Verdict, state: dict[str, Any], question: Question) -> None:
    assert judge(replace(GOOD, **state), question) is verdict


@pytest.mark.parametrize("first", range(len(FAULTS)))
def test_of_several_faults_the_first_in_order_is_the_verdict(first: int) -> None:
    faults = FAULTS[first:]
    state: dict[str, Any] = {}
    question = Question()
    for _, changes, asked in faults:
        state |= changes
        question = question._replace(
            environment=question.environment or asked.environment,
            required_scopes=question.required_scopes or asked.required_scopes,
        )

    assert judge(replace(GOOD, **state), question) is FAULTS[first][0]


@pytest.mark.parametrize(("verdict", "state", "question"), FAULTS)
def test_an_explanation_agrees_with_the_verdict(verdict: Verdict, state: dict[str, Any], question: Question) -> None:
    checks = explain(replace(GOOD, **state), question, within_quota=True, within_rate=True)

    assert [check for check, passed in checks if not passed] == [verdict]


def test_an_explanation_lists_every_check_in_the_order_of_the_numbers() -> None:
    checks = explain(GOOD, Question(), within_quota=False, within_rate=False)

    assert [check.value for check, _ in checks] == list(range(2, 12))
    assert [check for check, passed in checks if not passed] == [Verdict.QUOTA_EXCEEDED, Verdict.RATE_LIMITED]


def test_the_verdicts_are_those_of_the_proto() -> None:
    published = {name.removeprefix("VERDICT_"): number for name, number in verdict_pb2.Verdict.items() if number}

    assert published == {verdict.name: verdict.value for verdict in Verdict}
