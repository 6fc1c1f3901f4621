"""Images: when one is built again, what goes into it, and the registry's content on disk."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from deploy import images, preload
from deploy.machine import ROOT, Problem


class Engine:
    """Knows the ids of images, as Docker does."""

    def __init__(self, **ids: str) -> None:
        self.ids = ids
        self.api = None
        self.images = self

    def get(self, name: str) -> Any:
        return SimpleNamespace(id=self.ids[name])


def fingerprint(
    tmp_path: Path, *, content: str = "x", executable: bool = False, parent: str = "1", argument: str = "a"
) -> str:
    source = tmp_path / "file"
    source.write_text(content)
    source.chmod(0o755 if executable else 0o644)
    image = images.Image(name="i", dockerfile=source, parents=("parent",), arguments={"A": argument})
    return images.Builder(Engine(parent=parent)).fingerprint(image, {"file": source})  # type: ignore[arg-type]


def test_the_fingerprint_follows_everything_that_makes_an_image(tmp_path: Path) -> None:
    same = fingerprint(tmp_path)
    assert fingerprint(tmp_path) == same
    others = [{"content": "y"}, {"executable": True}, {"parent": "2"}, {"argument": "b"}]
    different = {fingerprint(tmp_path, **change) for change in others}  # type: ignore[arg-type]
    assert len(different | {same}) == len(others) + 1


def test_a_context_is_the_same_for_the_same_content(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o700)
    first = images.archive({"b": b"2", "a": script}).getvalue()
    script.touch()
    assert images.archive({"a": script, "b": b"2"}).getvalue() == first
    with tarfile.open(fileobj=images.archive({"a": script})) as tar:
        assert [(member.name, member.mode) for member in tar] == [("a", 0o755)]


def test_images_come_after_those_they_are_built_from(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[str] = {images.BASE}
    for image in images.images():
        known = {parent for parent in image.parents if parent not in seen}
        assert not known - {f"{images.LOCAL}/redis:latest"}, f"{image.name} needs {known} first"
        seen.update((image.name, *image.tags))


def test_one_image_brings_what_is_below_it() -> None:
    names = [image.name for image in images.needed(images.images(), ["pykube/node"])]
    assert names == ["pykube/base", "pykube/python", "pykube/packages", "pykube/node-base", "pykube/node"]
    with pytest.raises(Problem, match="no image 'pykube/nod'"):
        images.needed(images.images(), ["pykube/nod"])


def test_code_images_carry_only_what_runs_there() -> None:
    node = next(image for image in images.images() if image.name == "pykube/node")
    packages = {name.split("/")[1] for name in node.inputs()}
    assert {"kubelet", "proxy", "deploy", "api"} <= packages
    assert not packages & {"apiserver", "controller_manager", "scheduler", "cli", "tests"}


def test_every_image_that_manifests_name_is_preloaded() -> None:
    files = [*(ROOT / "deploy/addons").glob("*.yaml"), *(ROOT / "examples").rglob("*.yaml")]
    named = {
        container["image"]
        for file in files
        for document in yaml.safe_load_all(file.read_text())
        for container in document.get("spec", {}).get("template", {}).get("spec", {}).get("containers", [])
    }
    assert named
    assert named <= set(images.preloaded())


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """An unpacked `docker save` of two images that share a layer, in the old layout."""
    shared, own = b"shared layer", b"own layer"
    entries = []
    for name, layers in {"app:1": [shared, own], "base:1": [shared]}.items():
        config = json.dumps({"rootfs": {"diff_ids": [preload.sha256(layer) for layer in layers]}}).encode()
        files = [f"{name[:3]}{number}/layer.tar" for number, _ in enumerate(layers)]
        (tmp_path / f"{name[:3]}.json").write_bytes(config)
        for file, layer in zip(files, layers, strict=True):
            (tmp_path / file).parent.mkdir()
            (tmp_path / file).write_bytes(layer)
        entries.append({"Config": f"{name[:3]}.json", "Layers": files, "RepoTags": [f"localhost:5000/x/{name}"]})
    (tmp_path / "manifest.json").write_text(json.dumps(entries))
    return tmp_path


def test_the_registry_finds_every_blob_that_a_tag_leads_to(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preload, "unpack", lambda names, folder: preload.read(folder))
    context = preload.context([], folder=saved)
    files = {name.split("/", 1)[1]: value for name, value in context.items()}

    def content(path: str) -> bytes:
        value = files[path]
        return value if isinstance(value, bytes) else value.read_bytes()

    repository = f"{preload.REPOSITORIES}/x/app"
    digest = content(f"{repository}/_manifests/tags/1/current/link").decode()
    assert content(f"{repository}/_manifests/revisions/{digest.replace(':', '/')}/link").decode() == digest
    manifest = json.loads(content(preload.blob(digest)))
    for descriptor in (manifest["config"], *manifest["layers"]):
        blob = content(preload.blob(descriptor["digest"]))
        assert f"sha256:{hashlib.sha256(blob).hexdigest()}" == descriptor["digest"]
        assert len(blob) == descriptor["size"]
        assert (
            content(f"{repository}/_layers/{descriptor['digest'].replace(':', '/')}/link").decode()
            == descriptor["digest"]
        )


def test_layers_that_an_image_below_has_are_left_out(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preload, "unpack", lambda names, folder: preload.read(folder))
    shared = preload.sha256(b"shared layer")
    whole = preload.context([], folder=saved)
    rest = preload.context([], folder=saved, without={shared})
    assert whole.keys() - rest.keys() == {f"registry/{preload.blob(shared)}"}
