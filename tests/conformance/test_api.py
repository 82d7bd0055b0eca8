"""The HTTP API, word for word: shapes, statuses, messages, defaults and orders."""

from __future__ import annotations

import json
import socket

import pytest

from tests.proxy.serving import Api, Upstream, connect, echo, how_it_ends

P = {"name": "p", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:9"}


def error(server: Api, method: str, path: str, body: object = None) -> tuple[int, str]:
    """Status and message of an answer that must have the shape of an error."""
    status, headers, data = server.raw(method, path, body)
    assert headers["content-type"] == "text/plain; charset=utf-8"
    assert headers["x-content-type-options"] == "nosniff"
    assert data.endswith(b"\n")
    answer = json.loads(data)
    assert list(answer) == ["error", "status"] and answer["status"] == status
    return status, answer["error"]


class TestProxies:
    def test_there_are_none_at_first(self, server: Api) -> None:
        status, headers, data = server.raw("GET", "/proxies")
        assert (status, headers["content-type"], data) == (200, "application/json", b"{}")

    def test_a_new_one_is_told_with_its_real_port_and_a_stray_logger(self, server: Api) -> None:
        status, headers, data = server.raw("POST", "/proxies", P)
        port = json.loads(data)["listen"].rpartition(":")[2]
        expected = (
            f'{{"name":"p","listen":"127.0.0.1:{port}","upstream":"127.0.0.1:9",'
            '"enabled":true,"Logger":{},"toxics":[]}'
        )
        assert (status, headers["content-type"], data.decode()) == (201, "application/json", expected)
        assert port != "0"
        assert server.raw("GET", "/proxies/p")[2].decode() == expected
        assert server.raw("GET", "/proxies")[2].decode() == f'{{"p":{expected}}}'

    def test_names_come_sorted(self, server: Api) -> None:
        for name in "cab":
            server.ok("POST", "/proxies", {**P, "name": name})
        assert list(server.ok("GET", "/proxies")) == ["a", "b", "c"]

    def test_toxics_in_the_request_are_passed_over(self, server: Api) -> None:
        assert server.ok("POST", "/proxies", {**P, "toxics": [{"type": "latency"}]})["toxics"] == []

    def test_keys_match_in_any_case_and_unknown_ones_are_passed_over(self, server: Api) -> None:
        made = server.ok("POST", "/proxies", {"NAME": "p", "Upstream": "u:1", "LISTEN": "127.0.0.1:0", "colour": 1})
        assert (made["name"], made["upstream"]) == ("p", "u:1")

    def test_half_a_surrogate_pair_in_a_name_is_the_replacement_character(self, server: Api) -> None:
        body = b'{"name":"x\\ud800y","listen":"127.0.0.1:0","upstream":"127.0.0.1:9"}'
        assert json.loads(server.raw("POST", "/proxies", body)[2])["name"] == "x\ufffdy"
        assert server.ok("DELETE", "/proxies/x%EF%BF%BDy") == ""

    def test_what_follows_the_first_value_is_passed_over(self, server: Api) -> None:
        assert server.raw("POST", "/proxies", json.dumps(P) + " nonsense {")[0] == 201

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ({}, "missing required field: name"),
            ({"name": ""}, "missing required field: name"),
            ({"name": "p"}, "missing required field: upstream"),
            ({"upstream": "x:1"}, "missing required field: name"),
            ("null", "missing required field: name"),
            ("", "bad request body: EOF"),
            ("  ", "bad request body: EOF"),
            ("{", "bad request body: unexpected EOF"),
            ('{"name":"a"', "bad request body: unexpected EOF"),
            ('{"name"', "bad request body: unexpected EOF"),
            ("hello", "bad request body: invalid character 'h' looking for beginning of value"),
            ("'", "bad request body: invalid character '\\'' looking for beginning of value"),
            ('{"a":1,}', "bad request body: invalid character '}' looking for beginning of object key string"),
            ("{a:1}", "bad request body: invalid character 'a' looking for beginning of object key string"),
            ('{"a" 1}', "bad request body: invalid character '1' after object key"),
            ('{"a":1 "b"}', "bad request body: invalid character '\"' after object key:value pair"),
            ("[1}", "bad request body: invalid character '}' after array element"),
            ('{"a":tru}', "bad request body: invalid character '}' in literal true (expecting 'e')"),
            ('{"a":01}', "bad request body: invalid character '1' after object key:value pair"),
            ('{"a":1.}', "bad request body: invalid character '}' after decimal point in numeric literal"),
            ('{"a":-}', "bad request body: invalid character '}' in numeric literal"),
            ('{"a":1e}', "bad request body: invalid character '}' in exponent of numeric literal"),
            ('{"a":"\x01"}', "bad request body: invalid character '\\x01' in string literal"),
            ('{"a":"\n"}', "bad request body: invalid character '\\n' in string literal"),
            ('{"a":"\\q"}', "bad request body: invalid character 'q' in string escape code"),
            ('{"a":"\\u1"}', "bad request body: invalid character '\"' in \\u hexadecimal character escape"),
            ("[]", "bad request body: json: cannot unmarshal array into Go value of type toxiproxy.Proxy"),
            ("1", "bad request body: json: cannot unmarshal number into Go value of type toxiproxy.Proxy"),
            (
                {"name": 1},
                "bad request body: json: cannot unmarshal number into Go struct field Proxy.name of type string",
            ),
            (
                {"enabled": "x"},
                "bad request body: json: cannot unmarshal string into Go struct field Proxy.enabled of type bool",
            ),
        ],
    )
    def test_a_bad_body_is_refused_in_these_words(self, server: Api, body: object, message: str) -> None:
        assert error(server, "POST", "/proxies", body) == (400, message)
        assert server.ok("GET", "/proxies") == {}

    def test_a_name_is_taken_once(self, server: Api) -> None:
        server.ok("POST", "/proxies", P)
        assert error(server, "POST", "/proxies", P) == (409, "proxy already exists")

    @pytest.mark.parametrize(
        ("listen", "message"),
        [
            ("nohost", "listen tcp: address nohost: missing port in address"),
            ("a:b:c", "listen tcp: address a:b:c: too many colons in address"),
            ("[::1", "listen tcp: address [::1: missing ']' in address"),
            ("127.0.0.1:99999", "listen tcp: address 99999: invalid port"),
            ("127.0.0.1:-1", "listen tcp: address -1: invalid port"),
            ("127.0.0.1:nosuch", "listen tcp: lookup tcp/nosuch: unknown port"),
            ("127.0.0.1:2_9998", "listen tcp: lookup tcp/2_9998: unknown port"),
            ("127.0.0.1:29998 ", "listen tcp: lookup tcp/29998 : unknown port"),
            ("127.0.0.1:\u0663", "listen tcp: lookup tcp/\u0663: unknown port"),
            (f"127.0.0.1:{'9' * 5000}", f"listen tcp: address {'9' * 5000}: invalid port"),
            ("a\0b:80", "listen tcp: lookup a\0b: no such host"),
            ("192.0.2.1:1", "listen tcp 192.0.2.1:1: bind: cannot assign requested address"),
        ],
    )
    def test_an_address_that_cannot_be_listened_on_is_an_error_and_nothing_is_kept(
        self, server: Api, listen: str, message: str
    ) -> None:
        assert error(server, "POST", "/proxies", {**P, "listen": listen}) == (500, message)
        assert server.ok("GET", "/proxies") == {}

    def test_a_port_in_use_is_an_error(self, server: Api) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            listen = f"127.0.0.1:{taken.getsockname()[1]}"
            found = error(server, "POST", "/proxies", {**P, "listen": listen})
        assert found == (500, f"listen tcp {listen}: bind: address already in use")

    @pytest.mark.parametrize(
        ("listen", "shown"),
        [("", "[::]:"), (":0", "[::]:"), ("localhost:0", "127.0.0.1:"), ("127.0.0.1:", "127.0.0.1:")],
    )
    def test_a_listen_address_is_shown_resolved(self, server: Api, listen: str, shown: str) -> None:
        assert server.ok("POST", "/proxies", {**P, "listen": listen})["listen"].startswith(shown)

    def test_a_disabled_one_keeps_its_text_and_listens_nowhere(self, server: Api) -> None:
        made = server.ok("POST", "/proxies", {**P, "listen": "localhost:0", "enabled": False})
        assert (made["listen"], made["enabled"]) == ("localhost:0", False)

    def test_deleting_closes_connections_and_the_listener(self, server: Api) -> None:
        with Upstream(echo) as upstream:
            port = server.proxy("p", upstream.port)
            with connect(port) as sock:
                sock.sendall(b"x")
                assert sock.recv(1) == b"x"
                assert server.raw("DELETE", "/proxies/p")[0] == 204
                assert how_it_ends(sock) == ("eof", b"")
            with pytest.raises(ConnectionRefusedError):
                connect(port)
        assert error(server, "DELETE", "/proxies/p") == (404, "proxy not found")

    @pytest.mark.parametrize("method", ["GET", "POST", "PATCH"])
    def test_one_that_is_not_there_is_not_found(self, server: Api, method: str) -> None:
        assert error(server, method, "/proxies/nope", {}) == (404, "proxy not found")


@pytest.mark.parametrize("method", ["POST", "PATCH"])
class TestChangingAProxy:
    def test_fields_default_to_what_they_are(self, server: Api, method: str) -> None:
        before = server.ok("POST", "/proxies", P)
        assert server.ok(method, "/proxies/p", {}) == before
        assert server.ok(method, "/proxies/p", {"name": "other"}) == before

    def test_an_empty_body_is_refused(self, server: Api, method: str) -> None:
        server.ok("POST", "/proxies", P)
        assert error(server, method, "/proxies/p", "") == (400, "bad request body: EOF")

    def test_a_new_upstream_drops_connections_and_keeps_toxics(self, server: Api, method: str) -> None:
        with Upstream(echo) as one, Upstream(lambda sock: sock.sendall(b"two")) as two:
            port = server.proxy("p", one.port)
            server.toxic("p", "latency", latency=1)
            with connect(port) as sock:
                sock.sendall(b"x")
                sock.recv(1)
                changed = server.ok(method, "/proxies/p", {"upstream": f"127.0.0.1:{two.port}"})
                assert how_it_ends(sock)[0] == "eof"
            assert [toxic["name"] for toxic in changed["toxics"]] == ["t"]
            assert changed["listen"] == f"127.0.0.1:{port}"
            with connect(port) as sock:
                assert sock.recv(3) == b"two"

    def test_the_same_address_in_other_words_changes_nothing(self, server: Api, method: str) -> None:
        with Upstream(echo) as upstream:
            port = server.proxy("p", upstream.port)
            with connect(port) as sock:
                sock.sendall(b"x")
                sock.recv(1)
                server.ok(method, "/proxies/p", {"listen": f"localhost:{port}"})
                sock.sendall(b"y")
                assert sock.recv(1) == b"y"

    def test_disabling_refuses_and_enabling_takes_the_same_port(self, server: Api, method: str) -> None:
        with Upstream(echo) as upstream:
            port = server.proxy("p", upstream.port)
            server.toxic("p", "latency", latency=1)
            with connect(port) as sock:
                sock.sendall(b"x")
                sock.recv(1)
                assert server.ok(method, "/proxies/p", {"enabled": False})["enabled"] is False
                assert how_it_ends(sock)[0] == "eof"
            with pytest.raises(ConnectionRefusedError):
                connect(port)
            again = server.ok(method, "/proxies/p", {"enabled": True})
            assert again["listen"] == f"127.0.0.1:{port}" and len(again["toxics"]) == 1
            with connect(port) as sock:
                sock.sendall(b"z")
                assert sock.recv(1) == b"z"

    def test_a_bad_listen_address_is_told_without_the_word_listen(self, server: Api, method: str) -> None:
        before = server.ok("POST", "/proxies", P)
        assert error(server, method, "/proxies/p", {"listen": "bad"}) == (500, "address bad: missing port in address")
        assert server.ok("GET", "/proxies/p") == before


class TestToxics:
    @pytest.fixture(autouse=True)
    def _proxy(self, server: Api) -> None:
        server.ok("POST", "/proxies", P)

    @pytest.mark.parametrize(
        ("type_", "attributes"),
        [
            ("latency", {"latency": 0, "jitter": 0}),
            ("bandwidth", {"rate": 0}),
            ("slow_close", {"delay": 0}),
            ("timeout", {"timeout": 0}),
            ("reset_peer", {"timeout": 0}),
            ("slicer", {"average_size": 0, "size_variation": 0, "delay": 0}),
            ("limit_data", {"bytes": 0}),
            ("noop", {}),
        ],
    )
    def test_each_type_has_its_attributes_and_defaults(self, server: Api, type_: str, attributes: object) -> None:
        status, _, data = server.raw("POST", "/proxies/p/toxics", {"type": type_})
        shape = json.dumps(
            {
                "attributes": attributes,
                "name": f"{type_}_downstream",
                "type": type_,
                "stream": "downstream",
                "toxicity": 1,
            },
            separators=(",", ":"),
        )
        assert (status, data.decode()) == (200, shape)
        assert server.raw("GET", f"/proxies/p/toxics/{type_}_downstream")[2].decode() == shape

    def test_streams_match_in_any_case_and_are_echoed(self, server: Api) -> None:
        made = server.ok("POST", "/proxies/p/toxics", {"type": "noop", "stream": "UpStream"})
        assert (made["name"], made["stream"]) == ("noop_UpStream", "UpStream")

    def test_upstream_comes_first_and_then_the_order_of_creation(self, server: Api) -> None:
        for name, stream in (("a", "downstream"), ("b", "upstream"), ("c", "downstream"), ("d", "upstream")):
            server.ok("POST", "/proxies/p/toxics", {"name": name, "type": "noop", "stream": stream})
        assert [toxic["name"] for toxic in server.ok("GET", "/proxies/p/toxics")] == ["b", "d", "a", "c"]
        assert [toxic["name"] for toxic in server.ok("GET", "/proxies/p")["toxics"]] == ["b", "d", "a", "c"]

    @pytest.mark.parametrize(
        ("toxicity", "shown"),
        [
            (0.1, "0.1"),
            (0, "0"),
            (7, "7"),
            (-3, "-3"),
            (0.3333333333, "0.33333334"),
            (123456789, "123456790"),
            (1e21, "1e+21"),
            (-3.25e-07, "-3.25e-7"),
            (None, "1"),
        ],
    )
    def test_toxicity_is_a_float32_without_a_range(self, server: Api, toxicity: object, shown: str) -> None:
        data = server.raw("POST", "/proxies/p/toxics", {"type": "noop", "toxicity": toxicity})[2]
        assert data.decode().endswith(f'"toxicity":{shown}}}')

    @pytest.mark.parametrize(
        ("body", "status", "message"),
        [
            ("", 400, "bad request body: EOF"),
            ({}, 400, "invalid toxic type"),
            ({"type": "latency", "stream": ""}, 400, "stream was invalid, can be either upstream or downstream"),
            ({"type": "x", "stream": "up"}, 400, "stream was invalid, can be either upstream or downstream"),
            ({"type": "x"}, 400, "invalid toxic type"),
            ({"type": "latency", "name": "taken"}, 409, "toxic already exists"),
            ({"type": "latency", "name": "taken", "attributes": {"latency": "x"}}, 409, "toxic already exists"),
            (
                {"type": "latency", "attributes": {"latency": "x"}},
                400,
                (
                    "bad request body: json: cannot unmarshal string into Go struct field "
                    "LatencyToxic.attributes.latency of type int64"
                ),
            ),
            (
                {"type": "latency", "attributes": {"jitter": 1.5}},
                400,
                (
                    "bad request body: json: cannot unmarshal number 1.5 into Go struct field "
                    "LatencyToxic.attributes.jitter of type int64"
                ),
            ),
            (
                {"type": "slicer", "attributes": {"average_size": True}},
                400,
                (
                    "bad request body: json: cannot unmarshal bool into Go struct field "
                    "SlicerToxic.attributes.average_size of type int"
                ),
            ),
            (
                {"type": "latency", "attributes": []},
                400,
                (
                    "bad request body: json: cannot unmarshal array into Go struct field "
                    "ToxicWrapper.attributes of type toxics.NoopToxic"
                ),
            ),
            (
                {"type": "latency", "toxicity": "x"},
                400,
                (
                    "bad request body: json: cannot unmarshal string into Go struct field "
                    "ToxicWrapper.toxicity of type float32"
                ),
            ),
            (
                '{"type":"latency","toxicity":1e50}',
                400,
                (
                    "bad request body: json: cannot unmarshal number 1e50 into Go struct field "
                    "ToxicWrapper.toxicity of type float32"
                ),
            ),
        ],
    )
    def test_a_bad_one_is_refused_in_these_words(self, server: Api, body: object, status: int, message: str) -> None:
        server.ok("POST", "/proxies/p/toxics", {"name": "taken", "type": "noop", "stream": "upstream"})
        assert error(server, "POST", "/proxies/p/toxics", body) == (status, message)
        assert len(server.ok("GET", "/proxies/p/toxics")) == 1

    def test_unknown_attributes_are_dropped_and_null_ones_are_zero(self, server: Api) -> None:
        body = {"type": "latency", "attributes": {"LATENCY": 5, "jitter": None, "colour": 1}}
        assert server.ok("POST", "/proxies/p/toxics", body)["attributes"] == {"latency": 5, "jitter": 0}
        assert server.ok("POST", "/proxies/p/toxics", {"name": "n", "type": "latency", "attributes": None})

    def test_signs_are_escaped_as_go_escapes_them(self, server: Api) -> None:
        data = server.raw("POST", "/proxies/p/toxics", {"type": "noop", "name": "<&>"})[2]
        assert b'"name":"\\u003c\\u0026\\u003e"' in data

    @pytest.mark.parametrize("method", ["POST", "PATCH"])
    def test_a_change_merges_attributes_and_passes_over_the_rest(self, server: Api, method: str) -> None:
        server.toxic("p", "latency", latency=5, jitter=2)
        change = {"name": "x", "type": "y", "stream": "upstream", "toxicity": 0.5, "attributes": {"jitter": 1}}
        changed = server.ok(method, "/proxies/p/toxics/t", change)
        assert changed == {
            "attributes": {"latency": 5, "jitter": 1},
            "name": "t",
            "type": "latency",
            "stream": "downstream",
            "toxicity": 0.5,
        }
        assert server.ok("GET", "/proxies/p/toxics") == [changed]

    def test_a_failing_change_has_taken_what_came_before_the_failure(self, server: Api) -> None:
        server.toxic("p", "latency", latency=5)
        found = error(server, "PATCH", "/proxies/p/toxics/t", {"attributes": {"latency": 7, "jitter": "x"}})
        assert found[0] == 400
        assert server.ok("GET", "/proxies/p/toxics/t")["attributes"] == {"latency": 7, "jitter": 0}
        found = error(server, "PATCH", "/proxies/p/toxics/t", {"attributes": {"latency": 9}, "toxicity": "x"})
        assert found == (
            400,
            "bad request body: json: cannot unmarshal string into Go struct field .toxicity of type float32",
        )
        assert server.ok("GET", "/proxies/p/toxics/t")["attributes"]["latency"] == 9

    @pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
    def test_one_that_is_not_there_is_not_found(self, server: Api, method: str) -> None:
        assert error(server, method, "/proxies/p/toxics/nope", {}) == (404, "toxic not found")
        assert error(server, method, "/proxies/nope/toxics/nope", {}) == (404, "proxy not found")

    def test_deleting_one_leaves_the_others(self, server: Api) -> None:
        for name in "abc":
            server.ok("POST", "/proxies/p/toxics", {"name": name, "type": "noop"})
        assert server.raw("DELETE", "/proxies/p/toxics/b")[0] == 204
        assert [toxic["name"] for toxic in server.ok("GET", "/proxies/p/toxics")] == ["a", "c"]


class TestPopulate:
    def populate(self, server: Api, body: object) -> tuple[int, object]:
        status, headers, data = server.raw("POST", "/populate", body)
        assert headers["content-type"] == "application/json" and not data.endswith(b"\n")
        return status, json.loads(data)

    def test_it_makes_proxies_in_order(self, server: Api) -> None:
        status, answer = self.populate(server, [{**P, "name": "b"}, {**P, "name": "a", "enabled": False}])
        assert status == 201
        assert [(p["name"], p["enabled"]) for p in answer["proxies"]] == [("b", True), ("a", False)]  # type: ignore[index]

    @pytest.mark.parametrize("body", ["[]", "null"])
    def test_nothing_is_null(self, server: Api, body: str) -> None:
        assert self.populate(server, body) == (201, {"proxies": None})

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ("", "bad request body: EOF"),
            ([{}], "missing required field: name at proxy 1"),
            ([P, {"name": "b"}], "missing required field: upstream at proxy 2"),
            (
                {},
                (
                    "bad request body: json: cannot unmarshal object into Go value of type "
                    '[]struct { toxiproxy.Proxy; Enabled *bool "json:\\"enabled\\"" }'
                ),
            ),
            (
                [{"name": 1}],
                "bad request body: json: cannot unmarshal number into Go struct field .Proxy.name of type string",
            ),
        ],
    )
    def test_all_are_checked_before_any_is_made(self, server: Api, body: object, message: str) -> None:
        assert self.populate(server, body) == (400, {"error": message, "status": 400, "proxies": None})
        assert server.ok("GET", "/proxies") == {}

    def test_the_first_failure_stops_it_and_the_earlier_ones_stay(self, server: Api) -> None:
        body = [P, {**P, "name": "q", "listen": "bad"}, {**P, "name": "r"}]
        status, answer = self.populate(server, body)
        assert status == 500
        assert answer["error"] == "listen tcp: address bad: missing port in address"  # type: ignore[index]
        assert [proxy["name"] for proxy in answer["proxies"]] == ["p"]  # type: ignore[index]
        assert list(server.ok("GET", "/proxies")) == ["p"]

    def test_the_same_proxy_is_left_as_it_is(self, server: Api) -> None:
        made = server.ok("POST", "/proxies", P)
        server.toxic("p", "noop")
        _, answer = self.populate(server, [{**P, "listen": made["listen"], "enabled": False}])
        assert answer["proxies"][0]["enabled"] is True and len(answer["proxies"][0]["toxics"]) == 1  # type: ignore[index]

    def test_another_one_of_that_name_takes_its_place_without_toxics(self, server: Api) -> None:
        made = server.ok("POST", "/proxies", P)
        server.toxic("p", "noop")
        _, answer = self.populate(server, [{**P, "listen": made["listen"], "upstream": "127.0.0.1:10"}])
        assert answer["proxies"][0]["upstream"] == "127.0.0.1:10" and answer["proxies"][0]["toxics"] == []  # type: ignore[index]

    def test_port_zero_is_another_address_each_time(self, server: Api) -> None:
        first = self.populate(server, [P])[1]["proxies"][0]["listen"]  # type: ignore[index]
        assert self.populate(server, [P])[1]["proxies"][0]["listen"] != first  # type: ignore[index]


class TestTheRest:
    def test_reset_enables_all_and_removes_every_toxic(self, server: Api) -> None:
        server.ok("POST", "/proxies", P)
        server.ok("POST", "/proxies", {**P, "name": "q", "enabled": False})
        server.toxic("p", "latency", stream="upstream")
        server.toxic("p", "noop", name="u")
        assert server.raw("POST", "/reset")[0] == 204
        proxies = server.ok("GET", "/proxies")
        assert all(proxy["enabled"] and proxy["toxics"] == [] for proxy in proxies.values())

    def test_version_is_new_enough_for_clients_that_patch(self, server: Api) -> None:
        status, headers, data = server.raw("GET", "/version")
        assert (status, headers["content-type"]) == (200, "application/json;charset=utf-8")
        assert data.startswith(b'{"version": "') and data.endswith(b'"}\n')

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "/"),
            ("GET", "/nope"),
            ("GET", "/proxies/"),
            ("GET", "/proxies/a/b"),
            ("GET", "/proxies/a%2Fb/toxics/c"),
        ],
    )
    def test_paths_that_are_none_are_not_found(self, server: Api, method: str, path: str) -> None:
        status, headers, data = server.raw(method, path)
        assert (status, data) == (404, b"404 page not found\n")
        assert "x-toxiproxy-request-id" not in headers

    @pytest.mark.parametrize(
        ("method", "path"), [("PUT", "/proxies"), ("HEAD", "/proxies"), ("OPTIONS", "/version"), ("GET", "/reset")]
    )
    def test_methods_that_are_none_are_not_allowed(self, server: Api, method: str, path: str) -> None:
        status, headers, data = server.raw(method, path)
        assert (status, data) == (405, b"") and "allow" not in headers

    @pytest.mark.parametrize(
        ("path", "clean"),
        [("//proxies", "/proxies"), ("/./proxies?a=1", "/proxies?a=1"), ("/proxies/../version", "/version")],
    )
    def test_paths_that_are_not_clean_are_redirected(self, server: Api, path: str, clean: str) -> None:
        status, headers, data = server.raw("GET", path)
        assert (status, headers["location"], data) == (301, clean, b"")

    def test_names_may_be_percent_encoded(self, server: Api) -> None:
        server.ok("POST", "/proxies", {**P, "name": "a b"})
        assert server.ok("GET", "/proxies/%61%20b?x=1")["name"] == "a b"

    def test_browsers_are_turned_away(self, server: Api) -> None:
        status, headers, data = server.raw("GET", "/proxies", headers={"User-Agent": "Mozilla/5.0"})
        assert (status, data) == (403, b"User agent not allowed\n")
        assert headers["content-type"] == "text/plain; charset=utf-8"
        assert server.raw("GET", "/nope", headers={"User-Agent": "Mozilla/5.0"})[0] == 404

    def test_every_answer_of_a_route_has_a_request_id(self, server: Api) -> None:
        ids = {server.raw("GET", "/version")[1]["x-toxiproxy-request-id"] for _ in range(5)}
        assert len(ids) == 5 and all(len(id_) == 20 for id_ in ids)

    def test_bytes_are_counted_when_a_connection_ends(self, server: Api) -> None:
        with Upstream(echo) as upstream:
            port = server.proxy("p", upstream.port)
            with connect(port) as sock:
                sock.sendall(b"12345")
                sock.recv(5)
        labels = f'{{direction="upstream",listener="127.0.0.1:{port}",proxy="p",upstream="127.0.0.1:{upstream.port}"}}'
        expected = [f"toxiproxy_proxy_{what}_bytes_total{labels} 5" for what in ("received", "sent")]

        def counted() -> bool:
            lines = server.raw("GET", "/metrics")[2].decode().splitlines()
            return all(line in lines for line in expected)

        from tests.proxy.serving import eventually

        eventually(counted)
