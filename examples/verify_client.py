"""Verify an API key from a service of yours: `python examples/verify_client.py ang_test_…`.

Needs grpcio and the stubs in `gen/`. The service token is the one that `make run` draws into `.data/internal-token`.
"""

import asyncio
import os
import sys
from pathlib import Path

import grpc

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "gen"))

from sdk.verification.v1.verdict_pb2 import VERDICT_VALID, Verdict
from sdk.verification.v1.verification_service_pb2 import VerifyApiKeyRequest
from sdk.verification.v1.verification_service_pb2_grpc import VerificationServiceStub

ADDRESS = os.environ.get("DEVELOPER_INTERNAL_GRPC_ADDRESS", "127.0.0.1:50052")


async def main(api_key: str, token: str) -> int:
    """Ask about one key and print the verdict. Keep the channel for the life of your process: one is enough."""
    async with grpc.aio.insecure_channel(ADDRESS) as channel:
        service = VerificationServiceStub(channel)
        request = VerifyApiKeyRequest(api_key=api_key, required_scopes=["read"], operation="example")
        try:
            answer = await service.VerifyApiKey(request, timeout=2, metadata=[("authorization", f"Bearer {token}")])
        except grpc.aio.AioRpcError as fault:
            # The answer is not known: have your caller try again (503), and never say that the key is bad.
            print(f"no answer: {fault.code().name}: {fault.details()}", file=sys.stderr)
            return 2
    print(Verdict.Name(answer.verdict), answer.key_id, answer.developer_id)
    if answer.HasField("rate_limit"):
        print(f"{answer.rate_limit.remaining} of {answer.rate_limit.limit} calls left")
    return 0 if answer.verdict == VERDICT_VALID else 1


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python examples/verify_client.py API_KEY")
    service_token = os.environ.get("INTERNAL_TOKEN") or Path(".data/internal-token").read_text(encoding="utf-8").strip()
    sys.exit(asyncio.run(main(sys.argv[1], service_token)))
