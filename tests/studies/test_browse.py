"""Browsing a store on loopback."""

from __future__ import annotations

import http.client
import threading

import pytest

from chaoskit.studies.browse import Browser, served_file
from tests.reporters.runs import shop_history, shop_run
from tests.studies.kept import keep


@pytest.fixture
def served(tmp_path):
    history = shop_history()
    folder = keep(tmp_path / "store", shop_run(history), history, name="one")
    (folder / "report.html").write_text("<p>the report")
    (folder / "secret.key").write_text("secret")
    (tmp_path / "outside.json").write_text("outside")
    (folder / "link.json").symlink_to(tmp_path / "outside.json")
    with Browser(tmp_path / "store") as browser:
        thread = threading.Thread(target=browser.serve_forever, args=(0.05,))
        thread.start()
        yield browser
        browser.shutdown()
        thread.join()


def get(browser, path, method="GET", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", browser.server_port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", headers.pop("host", f"127.0.0.1:{browser.server_port}"))
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer, body


def test_the_index_is_made_afresh_and_reports_are_served(served):
    answer, body = get(served, "/")
    assert answer.status == 200
    assert "1 of 1 runs came out as expected" in body
    assert get(served, "/shop/one/report.html")[1] == "<p>the report"
    assert get(served, "/shop/one/result.json")[0].getheader("Content-Type") == "application/json"


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "127.0.0.1:1"},
        {"host": ""},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
    ],
)
def test_other_peoples_pages_get_nothing(served, headers):
    answer, body = get(served, "/", **headers)
    assert answer.status == 403
    assert "experiments" not in body


def test_its_own_origin_is_answered(served):
    assert get(served, "/", Origin=f"http://localhost:{served.server_port}")[0].status == 200


@pytest.mark.parametrize(
    "path",
    ["/shop/one/../../../outside.json", "/%2e%2e/outside.json", "/shop/one/secret.key", "/shop/one/link.json",
     "/shop/one/", "/shop//etc/passwd", "/.git/config", "/shop/one/..%2f..%2f..%2foutside.json"],
)  # fmt: skip
def test_nothing_but_a_runs_own_files_is_served(served, path):
    answer, body = get(served, path)
    assert answer.status == 404
    assert "outside" not in body
    assert "secret" not in body


def test_nothing_can_be_sent(served):
    assert get(served, "/", method="POST")[0].status == 501


def test_head_has_no_body(served):
    answer, body = get(served, "/shop/one/report.html", method="HEAD")
    assert (answer.status, body, answer.getheader("Content-Length")) == (200, "", "13")


def test_it_listens_on_loopback_only(served):
    assert served.server_address[0] == "127.0.0.1"


def test_dots_and_links_are_seen_through(tmp_path):
    assert served_file(tmp_path, "/../x.json") is None
