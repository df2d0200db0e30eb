"""What to do about calls that are refused for their number. Pure: it judges what the methods tell."""

from typing import Final

from sdk.usage.v1 import usage_service_pb2 as usage
from sdk.usage.v1.usage_service_pb2 import ExplainThrottlingResponse, LimitStanding

from server.pages.languages import translatable

_ROOMY: Final = 0.5
"""The share of a limit below which the present pace fits in easily, so that refusals come of bursts."""

_NOTHING: Final = translatable("No call was refused for its number in this time. There is nothing to do.")
_RUNNING_OUT: Final = translatable(
    "No call was refused yet, but at this pace calls will be. Spread them out, or ask for a higher tier before it "
    "happens."
)
_QUOTA: Final = translatable(
    "The month's quota is used up. It begins anew with the next month; a higher tier has more of it at once."
)
_ALL_KEYS: Final = translatable(
    "All your keys together are faster than your tier allows. Spread calls over time, answer repeated questions from a "
    "cache of yours, or ask for a higher tier."
)
_BURSTS: Final = translatable(
    "On average the limit has room: calls come in bursts. Spread them out, e.g. with a queue, and wait as long as the "
    "header Retry-After says. You do not need a higher tier."
)
_TOO_FAST: Final = translatable(
    "This key is steadily faster than its limit. Ask for a higher tier, or spread the work over time; another key has "
    "the same limit, and all keys share one above it."
)


def advise(answer: ExplainThrottlingResponse) -> str:
    """Return the one sentence that helps most, as a message id."""
    refusing = max(answer.limits, key=lambda limit: limit.refused_calls, default=None)
    if refusing is None or not refusing.refused_calls:
        return _RUNNING_OUT if any(limit.exhausted_at for limit in answer.limits) else _NOTHING
    if refusing.limit == usage.LIMIT_MONTHLY_QUOTA:
        return _QUOTA
    if refusing.limit == usage.LIMIT_DEVELOPER_RATE:
        return _BURSTS if _is_roomy(refusing, answer.developer_calls_per_second) else _ALL_KEYS
    return _BURSTS if _is_roomy(refusing, answer.key_calls_per_second) else _TOO_FAST


def _is_roomy(limit: LimitStanding, calls_per_second: float) -> bool:
    return calls_per_second * limit.window_seconds < limit.units * _ROOMY
