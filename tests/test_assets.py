"""External weights: found, imported, refused and re-checked, with small files under a registry of their own."""

import dataclasses
import hashlib
import os
import subprocess
import sys

import pytest
import torch
from typer.testing import CliRunner

from fgcli import assets
from fgcli.cli.assets import app
from fgcli.errors import FgError, UsageError


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A downloaded file that the registry knows as alexnet; an empty assets folder."""
    path = tmp_path / "downloads" / "alexnet-owt-7be5be79.pth"
    path.parent.mkdir()
    torch.save({"features.0.weight": torch.arange(2000.0)}, path)
    believe(monkeypatch, "alexnet", path.read_bytes())
    monkeypatch.setenv("FG_ASSETS", str(tmp_path / "assets"))
    return path


def believe(monkeypatch, name, content):
    known = dataclasses.replace(assets.ASSETS[name], bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(assets.ASSETS, name, known)


def test_importing_assets_imports_no_torch():
    code = "import sys, fgcli.cli.assets; sys.exit(bool({'torch', 'dlib', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_asset_says_what_a_person_needs_to_know():
    for name, asset in assets.ASSETS.items():
        assert name == asset.name
        assert len(asset.sha256) == (0 if asset.page else 64)
        assert bool(asset.bytes) != bool(asset.page)
        assert asset.licence
        assert asset.needed_by
        assert asset.without
        assert [bool(asset.url), bool(asset.package), bool(asset.page)].count(True) == 1
        assert bool(asset.aliases) == bool(asset.holds) == bool(asset.page)
        assert not asset.url or asset.url.endswith("/" + asset.file)


def test_packaged_models_are_found_and_sound():
    for name in ("dlib_embedding", "dlib_landmarks_68"):
        assert assets.need(name, "test") == assets.find(name)
    assert "face_recognition_models" not in sys.modules
    assert "exclude commercial use" in assets.ASSETS["dlib_landmarks_68"].licence


def test_the_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("FG_ASSETS", str(tmp_path))
    assert assets.folder() == tmp_path
    monkeypatch.delenv("FG_ASSETS")
    assert assets.folder().parts[-2:] == (".cache", "fg")


@pytest.mark.parametrize("name", [None, "alexnet"])
def test_import_keeps_the_bytes(weights, name):
    assert assets.find("alexnet") is None
    asset, path = assets.import_file(weights, name)
    assert asset.name == "alexnet"
    assert path == assets.find("alexnet") == assets.need("alexnet", "test")
    assert path.read_bytes() == weights.read_bytes()
    assert assets.state_dict("alexnet", "test")["features.0.weight"][7] == 7
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_import_recognises_a_file_by_its_content(weights):
    other = weights.rename(weights.with_name("download(1)"))
    assert assets.import_file(other)[0].name == "alexnet"


def test_need_says_where_to_get_it_and_what_works_without(weights):
    with pytest.raises(FgError) as caught:
        assets.need("alexnet", "lpips_alex")
    text = str(caught.value)
    assert "lpips_alex: expected the asset alexnet, found none; download https://download.pytorch.org/" in text
    assert "fg assets import alexnet-owt-7be5be79.pth" in text
    assert text.endswith("every other metric works without it")


def test_need_refuses_a_damaged_file(weights):
    path = assets.import_file(weights)[1]
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(FgError, match="found other content than its sha256 says; download"):
        assets.need("alexnet", "lpips_alex")
    path.write_bytes(content[:-1])
    with pytest.raises(FgError, match=f"found {len(content) - 1} bytes where {len(content)} belong"):
        assets.need("alexnet", "lpips_alex")


def test_import_refuses_what_is_not_the_weights(weights, tmp_path, monkeypatch):
    content = weights.read_bytes()
    weights.write_bytes(b"\n <!DOCTYPE html><html>Quota exceeded</html>")
    with pytest.raises(FgError, match="found an HTML page saved under that name; download"):
        assets.import_file(weights)
    weights.write_bytes(content[:100])
    with pytest.raises(FgError, match=f"expected {len(content)} bytes of alexnet, found a short file of 100"):
        assets.import_file(weights)
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(FgError, match=r"expected sha256 .* of alexnet, found .*; download it from https://"):
        assets.import_file(weights)
    unknown = tmp_path / "other.pth"
    unknown.write_bytes(content[:-1])
    with pytest.raises(FgError, match="expected the sha256 of one of alexnet, vgg16, inception, found"):
        assets.import_file(unknown)
    with pytest.raises(FgError, match="found a short file"):
        assets.import_file(unknown, "alexnet")
    with pytest.raises(FgError, match="found no such file"):
        assets.import_file(tmp_path / "none.pth")
    with pytest.raises(UsageError, match="--name dlib_embedding: expected one of alexnet, vgg16, inception"):
        assets.import_file(weights, "dlib_embedding")
    assert not assets.folder().exists()


class Payload:
    def __reduce__(self):
        return os.mkdir, ("owned",)


def test_import_runs_no_code_of_a_file(weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(Payload(), weights)
    believe(monkeypatch, "alexnet", weights.read_bytes())
    with pytest.raises(FgError, match="found one that torch cannot read safely"):
        assets.import_file(weights)
    assert not (tmp_path / "owned").exists()
    assert assets.find("alexnet") is None


def test_import_into_a_place_that_cannot_be_written(weights, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FG_ASSETS", str(tmp_path / "file" / "assets"))
    with pytest.raises(FgError, match=r"expected to write it, found: .*; set FG_ASSETS to another folder"):
        assets.import_file(weights)


def test_a_copy_that_fails_leaves_nothing(weights, monkeypatch):
    monkeypatch.setattr("os.fsync", lambda number: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(FgError, match="No space left"):
        assets.import_file(weights)
    assert list(assets.folder().iterdir()) == []


def test_the_commands(weights):
    call = CliRunner().invoke
    missing = call(app, ["list"]).stdout.splitlines()
    assert len(missing) == len(assets.ASSETS)
    assert missing[0].startswith("missing  alexnet")
    assert "lpips_alex" in missing[0]
    assert missing[0].endswith("get https://download.pytorch.org/models/alexnet-owt-7be5be79.pth")
    assert '"found": null' in call(app, ["list", "--json"]).stdout
    done = call(app, ["import", str(weights)])
    assert (done.exit_code, done.stdout) == (0, f"alexnet: {assets.find('alexnet')}\n")
    assert call(app, ["list"]).stdout.startswith("found    alexnet")
    assert call(app, ["check"]).exit_code == 0
    assets.find("alexnet").write_bytes(b"x")
    damaged = call(app, ["check"])
    assert damaged.exit_code == 1
    assert "damaged  alexnet" in damaged.stdout
    assert "sound    dlib_embedding" in damaged.stdout
    refused = call(app, ["import", "--name", "nothing", str(weights)])
    assert refused.exit_code == 2
    assert "expected one of alexnet, vgg16, inception" in refused.stderr
