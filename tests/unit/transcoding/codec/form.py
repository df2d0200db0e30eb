"""A message with a field for every category of protobuf's JSON conformance tests."""

from pathlib import Path
from typing import Any

from google.protobuf import text_format

from tests.unit.transcoding.codec.reading import codec_of

FORM = codec_of(Path(__file__).with_name("form.proto").read_text(), "form.v1.Form")
POOL = FORM.descriptor.file.pool


def form(text: str) -> Any:
    """Build a Form from protobuf's text format."""
    return text_format.Parse(text, FORM.message_class(), descriptor_pool=POOL)
