"""Which types lie below which, in graphs of types made up at random."""

from collections import Counter

from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from hypothesis import example, given
from hypothesis import strategies as st

from server.transcoding.codec.nesting import Holders

_SIZE = 6
_TYPES = st.integers(0, _SIZE - 1)
_GRAPHS = st.lists(st.lists(_TYPES, max_size=3), min_size=_SIZE, max_size=_SIZE)
"""For each type, those that its fields are of."""


def _types(graph: list[list[int]]) -> list[Descriptor]:
    file = FileDescriptorProto(name="graph.proto", syntax="proto3")
    for index, below in enumerate(graph):
        kind = file.message_type.add(name=f"T{index}")
        kind.field.add(name="scalar", number=100, type=FieldDescriptorProto.TYPE_INT32)
        for number, other in enumerate(below, 1):
            kind.field.add(
                name=f"f{number}", number=number, type=FieldDescriptorProto.TYPE_MESSAGE, type_name=f".T{other}"
            )
    pool = DescriptorPool()
    pool.Add(file)
    return [pool.FindMessageTypeByName(f"T{index}") for index in range(len(graph))]


def _reachable(graph: list[list[int]], start: int) -> set[int]:
    reached: set[int] = set()
    ahead = {start}
    while ahead:
        reached |= ahead
        ahead = {below for index in ahead for below in graph[index]} - reached
    return reached


@given(_GRAPHS, st.sets(_TYPES, max_size=2), st.permutations(range(_SIZE)))
@example([[1], [0, 2], [3], [1], [0], []], {4}, [2, 4, 0, 1, 3, 5])
@example([[1], [2], [], [1], [3], [4]], {2}, [0, 5, 3, 4, 1, 2])
def test_a_type_holds_what_lies_anywhere_below_it(graph: list[list[int]], sought: set[int], order: list[int]) -> None:
    types, looked_at = _types(graph), Counter[str]()

    def is_sought(kind: Descriptor) -> bool:
        looked_at[kind.name] += 1
        return kind.name in {f"T{index}" for index in sought}

    holders = Holders(is_sought)

    assert [index for index in order if types[index] in holders] == [
        index for index in order if _reachable(graph, index) & sought
    ]
    assert set(looked_at.values()) == {1}
