"""Documents of many values: no more is done for one than it takes, and no more of them read than can be told of."""

from typing import Any

import pytest

from server.transcoding.codec import scalars
from server.transcoding.codec.document import parse_document
from server.transcoding.codec.message import Codecs
from server.transcoding.violation import MAX_VIOLATIONS, Faults
from tests.unit.transcoding.kitchen import descriptor

SINK = Codecs().of(descriptor("Sink"))


class _Counted(Faults):
    noted = moved = 0

    def add(self, field: str, description: str) -> None:
        self.noted += 1
        super().add(field, description)

    def within(self, mark: int, step: str) -> None:
        self.moved += 1
        super().within(mark, step)


_MANY_WRONG: list[object] = [{}] * 300
_MANY_NAMED: dict[str, object] = {str(index): [] for index in range(300)}


@pytest.mark.parametrize(
    ("document", "first"),
    [
        ({"nums": _MANY_WRONG}, "nums[0]"),
        ({"children": [0] * 300}, "children[0]"),
        ({"labels": _MANY_NAMED}, 'labels["0"]'),
        ({"sinks": _MANY_NAMED}, 'sinks["0"]'),
        ({"list": ["\ud800"] * 300}, "list[0]"),
        ({"struct": dict.fromkeys(_MANY_NAMED, "\ud800")}, "struct.0"),
        ({"children": [{"nums": _MANY_WRONG}, *[0] * 300]}, "children[0].nums[0]"),
        ({"value": [["\ud800"] * 300, *["\ud800"] * 300]}, "value[0][0]"),
        ({"nums": _MANY_WRONG, "children": [0] * 300, "labels": _MANY_NAMED, "list": ["\ud800"]}, "nums[0]"),
    ],
)
def test_a_list_or_map_is_read_until_no_more_faults_can_be_told(document: dict[str, object], first: str) -> None:
    faults = _Counted()

    SINK.read(SINK.message_class(), document, faults)

    assert faults[0].field == first
    assert len(faults) == faults.noted == MAX_VIOLATIONS


@pytest.mark.parametrize("document", [{"list": [0] * 300}, {"struct": dict.fromkeys(_MANY_NAMED, 0)}])
def test_the_path_of_what_has_no_fault_is_not_made(document: dict[str, object]) -> None:
    faults = _Counted()

    SINK.read(SINK.message_class(), document, faults)

    assert (faults, faults.moved) == ([], 0)


def test_a_list_full_of_minus_zero_is_read_without_looking_at_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    document = parse_document(b'{"nums": [-0, -0]}')
    monkeypatch.setattr(scalars, "_NUMBER", None)
    sink: Any = SINK.message_class()

    SINK.read(sink, document, Faults())

    assert list(sink.nums) == [0, 0]
