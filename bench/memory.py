"""How much memory one worker keeps."""

from bench.process import Memory
from bench.report import Result

_GOAL = "<= 120"


def worker_memory(started: Memory, loaded: Memory) -> list[Result]:
    """Write the memory of the service's process after its start and after the load."""
    return [_result("after the start", started), _result("after the load", loaded)]


def _result(when: str, memory: Memory) -> Result:
    shared = "" if memory.proportional is None else f" (PSS {memory.proportional:.0f})"
    return Result(what=f"memory of a worker {when}, MiB", ours=f"{memory.resident:.0f}{shared}", goal=_GOAL)
