"""A gRPC server as gRPC's own examples are: stubs made from the proto, threads, reflection by its package.

Prints its port once it serves, and ends with its standard input.
"""

import sys
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
from grpc_reflection.v1alpha import reflection

sys.path.insert(0, str(Path(__file__).parent))
protos: Any
services: Any
protos, services = grpc.protos_and_services("harbour.proto")

SHIPS = (("Aurora", "NO", 900), ("Borealis", "IS", 2**63), ("Cassiopeia", "NO", 40))


class Harbour(services.HarbourServicer):  # type: ignore[misc]
    """A harbour with two berths and three ships."""

    def GetBerth(self, request: Any, context: Any) -> Any:
        """Find a berth; without reason the harbour loses its head at berth 13."""
        if request.number == 13:
            raise RuntimeError("the harbour master's diary says something private")
        if not 1 <= request.number <= 2:
            context.abort(grpc.StatusCode.OUT_OF_RANGE, "the berths are 1 and 2")
        return protos.Berth(number=request.number, depth=7.5 * request.number, free=True)

    def ListShips(self, request: Any, _context: Any) -> Iterator[Any]:
        """List ships, of some flags only when any are given."""
        found = [ship for ship in SHIPS if not request.flags or ship[1] in request.flags]
        for name, flag, tonnage in found[: request.limit or None]:
            yield protos.Ship(name=name, flag=flag, tonnage=tonnage)

    def RecordCourse(self, positions: Iterator[Any], context: Any) -> Any:
        """Count positions; none north of the pole."""
        course = protos.Course()
        for position in positions:
            if abs(position.latitude) > 90:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, "there is no such latitude")
            course.positions += 1
            course.last.CopyFrom(position)
        return course

    def ExchangeSignals(self, signals: Iterator[Any], _context: Any) -> Iterator[Any]:
        """Return each signal."""
        for signal in signals:
            yield protos.Signal(text=f"{signal.text}, aye")


def main() -> None:
    """Serve until nobody holds the other end of standard input."""
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    services.add_HarbourServicer_to_server(Harbour(), server)
    names = (protos.DESCRIPTOR.services_by_name["Harbour"].full_name, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"127.0.0.1:{port}", flush=True)
    sys.stdin.read()
    server.stop(None)


if __name__ == "__main__":
    main()
