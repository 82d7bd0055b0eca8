"""The same story told by three clients to both servers: ours, chaostoolkit-toxiproxy and toxiproxy-node-client."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaoskit.proxy.client import Toxiproxy
from tests.proxy.serving import Api, Upstream, connect, echo
from tests.requires import requires

pytestmark = pytest.mark.live


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream(echo) as made:
        yield made


def took(port: int) -> float:
    """Seconds of one echo; negative where the connection is refused or closed."""
    try:
        with connect(port) as sock:
            began = time.monotonic()
            sock.sendall(b"x")
            return time.monotonic() - began if sock.recv(1) else -1.0
    except ConnectionRefusedError:
        return -2.0


def test_ours(server: Api, upstream: Upstream) -> None:
    client = Toxiproxy(server.url)
    port = int(client.create("story", f"127.0.0.1:{upstream.port}").listen.rpartition(":")[2])
    assert 0 <= took(port) < 0.35
    client.add_toxic("story", "slow", "latency", attributes={"latency": 400})
    assert took(port) >= 0.4
    client.update_toxic("story", "slow", attributes={"latency": 600})
    assert took(port) >= 0.6
    assert client.toxics("story")[0].attributes == {"latency": 600, "jitter": 0}
    client.remove_toxic("story", "slow")
    client.set_enabled("story", False)
    assert took(port) == -2
    client.reset()
    assert 0 <= took(port) < 0.35
    assert client.delete("story") and client.proxies() == {}


CHAOSTOOLKIT = """
import json, sys
from chaostoxi.proxy import actions, probes
from chaostoxi.toxic import actions as toxics

def say(value):
    print(json.dumps(value), flush=True)
    sys.stdin.readline()

configuration = {"toxiproxy_url": sys.argv[1]}
upstream_host, upstream_port = "127.0.0.1", int(sys.argv[2])
actions.create_proxy("story", upstream_host, upstream_port, "127.0.0.1", int(sys.argv[3]), configuration=configuration)
say(probes.proxy_exist("story", configuration))
say(toxics.create_latency_toxic("story", "slow", 400, configuration=configuration))
say(toxics.delete_toxic("story", "slow", configuration))
say(toxics.create_limiter_toxic("story", "short", 0, configuration=configuration))
toxics.delete_toxic("story", "short", configuration)
actions.disable_proxy("story", configuration)
say(probes.get_proxy_attribute("story", "enabled", configuration))
actions.enable_proxy("story", configuration)
say(probes.get_proxy_attribute("story", "enabled", configuration))
say(actions.reset(configuration))
actions.delete_proxy("story", configuration)
say(probes.proxy_exist("story", configuration))
"""

NODE = """
const {Toxiproxy, Toxic} = require("toxiproxy-node-client");
const lines = require("readline").createInterface({input: process.stdin})[Symbol.asyncIterator]();
const say = async (value) => { console.log(JSON.stringify(value)); await lines.next(); };
(async () => {
  const server = new Toxiproxy(process.argv[1]);
  const proxy = await server.createProxy({name: "story", listen: "127.0.0.1:" + process.argv[3],
                                          upstream: "127.0.0.1:" + process.argv[2], enabled: true});
  await say((await server.get("story")).name === "story");
  const toxic = await proxy.addToxic({name: "slow", type: "latency", stream: "downstream", toxicity: 1,
                                      attributes: {latency: 400, jitter: 0}});
  await say(toxic.attributes.latency === 400);
  await toxic.remove();
  await say(true);
  await proxy.addToxic({name: "short", type: "limit_data", stream: "downstream", toxicity: 1, attributes: {bytes: 0}});
  await say(true);
  await (await proxy.getToxic("short")).remove();
  await say((await proxy.update({enabled: false, listen: proxy.listen, upstream: proxy.upstream})).enabled);
  await say((await proxy.update({enabled: true, listen: proxy.listen, upstream: proxy.upstream})).enabled);
  await server.reset();
  await say(true);
  await proxy.remove();
  let left = true;
  try { await server.get("story"); } catch (error) { left = false; }
  await say(left);
  process.exit(0);
})().catch((error) => { console.error(error); process.exit(1); });
"""

STORY = [
    ("there is a proxy", True, lambda seconds: 0 <= seconds < 0.35),
    ("a latency toxic", True, lambda seconds: seconds >= 0.4),
    ("it is gone", True, lambda seconds: 0 <= seconds < 0.35),
    ("a limit of nothing", True, lambda seconds: seconds == -1),
    ("disabled", False, lambda seconds: seconds == -2),
    ("enabled", True, lambda seconds: 0 <= seconds < 0.35),
    ("reset", True, lambda seconds: 0 <= seconds < 0.35),
    ("deleted", False, lambda seconds: seconds == -2),
]


def follow(argv: list[str], server: Api, upstream: Upstream, cwd: Path) -> None:
    """Run a client's program step by step, and look at the data plane after each."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    process = subprocess.Popen(
        [*argv, server.url, str(upstream.port), str(port)],
        cwd=cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    try:
        for step, said, holds in STORY:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            assert json.loads(line) is said, step
            assert holds(took(port)), step
            process.stdin.write("\n")
            process.stdin.flush()
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.communicate()


def test_chaostoolkit(server: Api, upstream: Upstream, tmp_path: Path) -> None:
    pytest.importorskip("chaostoxi", reason="chaostoolkit-toxiproxy is not installed")
    follow([sys.executable, "-W", "ignore", "-c", CHAOSTOOLKIT], server, upstream, tmp_path)


@pytest.fixture(scope="module")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("node")
    (folder / "package.json").write_text('{"private": true}')
    ran = subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", "toxiproxy-node-client@4.1.0"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode:
        because = f"npm could not install toxiproxy-node-client: {ran.stderr.strip()[-300:]}"
        if os.environ.get("CHAOSKIT_REQUIRE") == "all":
            pytest.fail(because)
        pytest.skip(because)
    return folder


@requires("npm")
def test_node(server: Api, upstream: Upstream, node_modules: Path) -> None:
    follow(["node", "-e", NODE], server, upstream, node_modules)
