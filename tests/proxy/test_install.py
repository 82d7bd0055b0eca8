"""Finding and getting a real Toxiproxy: where from, in which order, and what is said where it fails."""

from __future__ import annotations

import hashlib
import io
import os
import platform
import tarfile
from pathlib import Path

import pytest

from chaoskit.errors import MissingPart
from chaoskit.proxy import install as module
from chaoskit.proxy.install import cached_path, find_toxiproxy, install

SCRIPT = "#!/bin/sh\necho toxiproxy-server version 2.12.0\n"


@pytest.fixture(autouse=True)
def _places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def released(monkeypatch: pytest.MonkeyPatch, data: bytes, digest: str = "") -> None:
    """A release that has `data` as its server for every platform, and the hash that is known of it."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as packed:
        member = tarfile.TarInfo("toxiproxy-server")
        member.size = len(data)
        packed.addfile(member, io.BytesIO(data))
    known = digest or hashlib.sha256(archive.getvalue()).hexdigest()
    monkeypatch.setattr(module, "_SHA256", dict.fromkeys(module._SHA256, known))

    def download(url: str) -> bytes:
        assert "/v2.12.0/toxiproxy_2.12.0_" in url and url.endswith(".tar.gz")
        return archive.getvalue()

    monkeypatch.setattr(module, "_download", download)


def test_there_is_none_at_first(tmp_path: Path) -> None:
    assert find_toxiproxy() == ""
    assert cached_path() == tmp_path / "cache/chaoskit/bin/toxiproxy-server"


def test_path_comes_before_the_cache(tmp_path: Path) -> None:
    cached = program(cached_path(), SCRIPT)
    assert find_toxiproxy() == str(cached)
    on_path = program(tmp_path / "bin/toxiproxy-server", SCRIPT)
    assert find_toxiproxy() == str(on_path)


def test_go_builds_it_and_what_comes_out_is_called_server(tmp_path: Path) -> None:
    program(
        tmp_path / "bin/go",
        f"#!/bin/sh\necho \"$@\" > {tmp_path}/asked\nprintf '{SCRIPT}' > $GOBIN/server\n".replace("\n#", "\\n#"),
    )
    said: list[str] = []
    made = install(said.append)
    assert made == cached_path() and find_toxiproxy() == str(made) and os.access(made, os.X_OK)
    assert "github.com/Shopify/toxiproxy/v2/cmd/server@v2.12.0" in (tmp_path / "asked").read_text()
    assert said and not [file for file in made.parent.iterdir() if file != made]


def test_without_go_the_release_is_taken_and_its_hash_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    released(monkeypatch, SCRIPT.encode())
    assert install().read_text() == SCRIPT


def test_a_release_with_another_hash_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    released(monkeypatch, SCRIPT.encode(), digest="1" * 64)
    with pytest.raises(MissingPart) as caught:
        install()
    assert "SHA-256" in caught.value.detail and not cached_path().exists()


def test_a_platform_without_a_release_is_told_which_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(MissingPart) as caught:
        install()
    assert "riscv64" in caught.value.detail and "linux_arm64" in caught.value.detail


def test_where_no_way_works_every_reason_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "bin/go", "#!/bin/sh\necho 'no such host' >&2\nexit 1\n")
    monkeypatch.setattr(module, "_RELEASES", "http://127.0.0.1:1/v2.12.0")
    with pytest.raises(MissingPart) as caught:
        install()
    assert "go install: no such host" in caught.value.detail and "release: http://127.0.0.1:1" in caught.value.detail
    assert "embedded" in caught.value.hint
    assert not list(cached_path().parent.iterdir())


def test_what_does_not_run_here_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    released(monkeypatch, b"\x7fELF but not really")
    with pytest.raises(MissingPart, match="could not be installed"):
        install()
    assert not cached_path().exists()


@pytest.mark.parametrize(
    "blocked", ["cache", "cache/chaoskit", "cache/chaoskit/bin", "cache/chaoskit/bin/toxiproxy-server/x"]
)
def test_a_cache_that_cannot_be_written_is_told_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blocked: str
) -> None:
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    released(monkeypatch, SCRIPT.encode())
    (tmp_path / blocked).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / blocked).write_text("a file in its way")
    with pytest.raises(MissingPart, match="could not be put into") as caught:
        install()
    assert str(cached_path().parent) in caught.value.message and "XDG_CACHE_HOME" in caught.value.hint
