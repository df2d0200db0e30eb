"""Make `gen/` from `proto/`, offline and from installed packages alone.

Imported third-party protos come as descriptors from the packages that ship them: no foreign source in the tree.
`gen/sdk.binpb` is the image of everything published; a change that breaks it is refused before anything is written.

    gen.py          write gen/
    gen.py --check  fail when gen/ is not what proto/ makes, or when proto/ breaks what was published
"""

import filecmp
import json
import shutil
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from google.protobuf import descriptor_pb2, descriptor_pool
from protovalidate._gen.buf.validate import validate_pb

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
GEN = ROOT / "gen"
IMAGE = "sdk.binpb"
openapi = "openapi/openapi.json"
PUBLIC_SERVICES = (
    "sdk.developer.v1.DeveloperService",
    "sdk.portal.v1.KeySecretService",
    "sdk.portal.v1.OAuthClientService",
    "sdk.portal.v1.AccountService",
    "sdk.usage.v1.UsageService",
    "sdk.billing.v1.BillingService",
    "sdk.auth.v1.AuthService",
)
ANONYMOUS_SERVICES = ("sdk.auth.v1.AuthService",)
IMPORTED_MODULES = ("google.api.annotations_pb2", "google.rpc.status_pb2")


def imported_descriptors() -> descriptor_pb2.FileDescriptorSet:
    """Collect the descriptors of every third-party proto that ours may import, dependencies first."""
    pool = descriptor_pool.Default()
    found: dict[str, descriptor_pb2.FileDescriptorProto] = {}

    def visit(name: str) -> None:
        if name in found:
            return
        file = descriptor_pb2.FileDescriptorProto()
        pool.FindFileByName(name).CopyToProto(file)
        for dependency in file.dependency:
            visit(dependency)
        found[name] = file

    validate = descriptor_pb2.FileDescriptorProto.FromString(validate_pb.desc().proto.to_binary())
    for dependency in validate.dependency:
        module = dependency.removesuffix(".proto").replace("/", ".") + "_pb2"
        import_module(module)
        visit(dependency)
    for module in IMPORTED_MODULES:
        visit(import_module(module).DESCRIPTOR.name)
    return descriptor_pb2.FileDescriptorSet(file=[*found.values(), validate])


def protoc(out: Path, descriptors: Path, *args: str) -> None:
    """Run the protoc of grpcio-tools over our protos and buf/validate, which has no Python package of its own."""
    command = [sys.executable, "-m", "grpc_tools.protoc", f"--descriptor_set_in={descriptors}", f"-I{PROTO}", *args]
    subprocess.run([*command], check=True, cwd=out)


def build(out: Path) -> None:
    """Write stubs, types and the image of `proto/` into `out`."""
    sources = sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto"))
    with tempfile.TemporaryDirectory() as scratch:
        descriptors = Path(scratch) / "imported.binpb"
        descriptors.write_bytes(imported_descriptors().SerializeToString(deterministic=True))
        plugins = [
            f"--plugin=protoc-gen-{name}={Path(sys.executable).parent}/protoc-gen-{name}"
            for name in ("mypy", "mypy_grpc")
        ]
        protoc(
            out, descriptors, *plugins, "--python_out=.", "--mypy_out=quiet:.", *sources, "buf/validate/validate.proto"
        )
        services = [source for source in sources if source.endswith("_service.proto")]
        protoc(out, descriptors, *plugins, "--grpc_python_out=.", "--mypy_grpc_out=quiet,only_async:.", *services)
        protoc(
            out, descriptors, f"--descriptor_set_out={IMAGE}", "--include_imports", "--include_source_info", *sources
        )
    (out / openapi).parent.mkdir()
    (out / openapi).write_text(describe((out / IMAGE).read_bytes()), encoding="utf-8")


def describe(image: bytes) -> str:
    """Write the OpenAPI document of the public services; the server fills in its own address."""
    sys.path.insert(0, str(ROOT))
    openapi = import_module("server.transcoding.openapi.document")
    files = descriptor_pb2.FileDescriptorSet.FromString(image)
    info = openapi.Info(
        title="Developer platform",
        version="1.0.0",
        description="API keys for third-party developers. Every call needs the access token of a developer.",
        bearer="An OAuth access token of the configured issuer (RFC 9068).",
    )
    authorization = openapi.Header(
        name="Authorization",
        description="OAuth access token of the developer whose keys these are: `Bearer <access token>`.",
        example="Bearer eyJhbGciOiJSUzI1NiIs...",
    )
    document = openapi.document(files, PUBLIC_SERVICES, info, headers=[authorization], anonymous=ANONYMOUS_SERVICES)
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def buf(*args: str) -> None:
    """Run buf on images, which needs neither network nor foreign sources."""
    subprocess.run(
        [str(Path(sys.executable).parent / "buf"), *args, "--config", str(ROOT / "buf.yaml")], check=True, cwd=ROOT
    )


def refuse_breaking(fresh: Path, published: Path) -> None:
    """Fail when an element of the published image was renumbered, retyped or removed."""
    if published.exists():
        buf(
            "breaking",
            f"{fresh}#format=binpb",
            "--against",
            f"{published}#format=binpb",
            "--path",
            "sdk",
            "--limit-to-input-files",
        )


def differences(left: Path, right: Path) -> list[str]:
    """List the files that stand in only one of two trees or differ, ignoring compiled Python."""

    def files(root: Path) -> set[Path]:
        return {path.relative_to(root) for path in root.rglob("*") if path.is_file() and path.suffix != ".pyc"}

    ours, theirs = files(left), files(right)
    changed = {path for path in ours & theirs if not filecmp.cmp(left / path, right / path, shallow=False)}
    return sorted(map(str, (ours ^ theirs) | changed))


def main() -> int:
    """Generate or check, by the command line."""
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch) / "gen"
        fresh.mkdir()
        build(fresh)
        try:
            refuse_breaking(fresh / IMAGE, GEN / IMAGE)
        except subprocess.CalledProcessError:
            print(
                "proto/ breaks what gen/sdk.binpb published: see above; a published field never changes",
                file=sys.stderr,
            )
            return 1
        if "--check" in sys.argv:
            stale = differences(GEN, fresh)
            print(
                *(f"stale: gen/{name}: run `make gen`" for name in stale),
                sep="\n",
                end="\n" if stale else "",
                file=sys.stderr,
            )
            return 1 if stale else 0
        shutil.rmtree(GEN, ignore_errors=True)
        shutil.copytree(fresh, GEN)
    return 0


if __name__ == "__main__":
    sys.exit(main())
