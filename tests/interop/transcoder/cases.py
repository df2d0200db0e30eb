"""All cases."""

from tests.interop.transcoder.case import Case
from tests.interop.transcoder.cases_bodies import BODIES
from tests.interop.transcoder.cases_ends import DEADLINES, ERRORS, METADATA
from tests.interop.transcoder.cases_http import HTTP
from tests.interop.transcoder.cases_json import DOCUMENTS, SCALARS, SHAPES, WELL_KNOWN
from tests.interop.transcoder.cases_paths import PATHS
from tests.interop.transcoder.cases_query import QUERY
from tests.interop.transcoder.cases_streams import STREAMS

CASES: tuple[Case, ...] = (
    *(PATHS + QUERY + BODIES),
    *(SCALARS + SHAPES + WELL_KNOWN + DOCUMENTS),
    *(ERRORS + METADATA + DEADLINES),
    *(HTTP + STREAMS),
)
IDS = [case.name[:100] for case in CASES]
