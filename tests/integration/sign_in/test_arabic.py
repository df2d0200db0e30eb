"""What is said of faulty requests on the way to a user's consent, to readers of Arabic."""

from typing import Any

import pytest

from tests.integration.sign_in.desk import Desk, authorize_path

UNTRUSTED = [
    ({"client_id": "none"}, "client_id", "يجب أن يذكر عميلًا واحدًا موجودًا"),
    ({"redirect_uri": "https://evil.example/"}, "redirect_uri", "يجب أن يكون مما سجّله العميل، حرفًا حرفًا"),
]


@pytest.mark.parametrize(("changes", "parameter", "told"), UNTRUSTED)
async def test_a_request_that_cannot_be_trusted(desk: Desk, changes: Any, parameter: str, told: str) -> None:
    page = await desk.browser(language="ar").open(authorize_path(**changes))

    assert page.status == 400
    assert f"<code><bdi>{parameter}</bdi></code>" in page.html
    assert f"<bdi>{told}</bdi>" in page.html


async def test_more_than_was_asked_for(desk: Desk) -> None:
    browser = await desk.signed_in()
    browser.cookies["lang"] = "ar"
    page = await browser.open(authorize_path(scope="read"))

    answer = await browser.submit(page, "consent", button=("decision", "allow"), adding=[("allowed", "stream")])

    assert answer.status == 400
    assert "<code><bdi>scope</bdi></code>: <bdi>يجب أن يكون بعض ما يطلبه العميل</bdi>" in answer.html
