"""Paths of an OpenAPI document and their parameters. It knows no patterns, so they are written out segment by segment.

`{name}` stays one parameter; `{name=shelves/*/books/*}` becomes `shelves/{name.1}/books/{name.2}`, names that no field
can have. `**` is one parameter, though its value may have slashes.
"""

from collections.abc import Mapping
from typing import NamedTuple

from server.transcoding.template import REST, STAR, Template


class Part(NamedTuple):
    """A parameter of a path: the field that it sets, or that it is a part of when `sentence` says which."""

    name: str
    field: str
    wildcard: str
    sentence: str


def parts_of(template: Template) -> Mapping[int, Part]:
    """Return the parameters of a template's path by the index of their segments."""
    parts: dict[int, Part] = {}
    for variable in template.variables:
        field, form = variable.field, template.segments[variable.start : variable.end]
        wildcards = [index for index, segment in enumerate(form) if segment in {STAR, REST}]
        for number, index in enumerate(wildcards, 1):
            name, sentence = field, ""
            if len(form) > 1:
                name = f"{field}.{number}"
                sentence = f"Wildcard {number} of {len(wildcards)} in `{field}`, which is `{'/'.join(form)}`."
            parts[variable.start + index] = Part(name, field, form[index], sentence)
    return parts


def path_of(template: Template) -> str:
    """Return the path that a template's routes have in the document."""
    parts = parts_of(template)
    segments = [
        f"{{{parts[index].name}}}" if index in parts else segment for index, segment in enumerate(template.segments)
    ]
    return "/" + "/".join(segments) + (f":{template.verb}" if template.verb else "")
