"""What is advised about refused calls."""

import pytest
from sdk.usage.v1 import usage_service_pb2 as usage
from sdk.usage.v1.usage_service_pb2 import ExplainThrottlingResponse, Limit, LimitStanding

from server.portal.advice import advise


def standing(limit: Limit.ValueType, refused: int, **more: str) -> LimitStanding:
    return LimitStanding(limit=limit, units=600, window_seconds=60, remaining=10, refused_calls=refused, **more)


def answer(*limits: LimitStanding, key: float = 0, developer: float = 0) -> ExplainThrottlingResponse:
    return ExplainThrottlingResponse(limits=limits, key_calls_per_second=key, developer_calls_per_second=developer)


KEY, ALL, QUOTA = usage.LIMIT_KEY_RATE, usage.LIMIT_DEVELOPER_RATE, usage.LIMIT_MONTHLY_QUOTA

CASES = [
    (answer(), "nothing to do"),
    (answer(standing(KEY, 0), standing(ALL, 0)), "nothing to do"),
    (answer(standing(KEY, 0, exhausted_at="2026-11-22T14:20:00Z")), "No call was refused yet"),
    (answer(standing(KEY, 5), standing(ALL, 1), key=1), "calls come in bursts"),
    (answer(standing(KEY, 5), standing(ALL, 1), key=12), "steadily faster"),
    (answer(standing(KEY, 1), standing(ALL, 5), developer=12), "All your keys together"),
    (answer(standing(KEY, 1), standing(ALL, 5), developer=0.1), "calls come in bursts"),
    (answer(standing(KEY, 1), standing(QUOTA, 5)), "quota is used up"),
]


@pytest.mark.parametrize(("told", "advice"), CASES)
def test_the_advice_fits_what_refused_most(told: ExplainThrottlingResponse, advice: str) -> None:
    assert advice in advise(told)
