"""The user's kubeconfig: other clusters stay, ours comes and goes."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from deploy import kubeconfig
from deploy.machine import Problem

OURS = {
    "clusters": [{"name": "pykube", "cluster": {"server": "https://127.0.0.1:6443"}}],
    "users": [{"name": "pykube", "user": {}}],
    "contexts": [{"name": "pykube", "context": {"cluster": "pykube", "user": "pykube"}}],
    "current-context": "pykube",
}
OTHER = {
    "apiVersion": "v1",
    "kind": "Config",
    "preferences": {"colors": True},
    "clusters": [{"name": "work", "cluster": {"server": "https://work"}}],
    "users": [{"name": "me", "user": {"token": "t"}}],
    "contexts": [{"name": "work", "context": {"cluster": "work", "user": "me"}}],
    "current-context": "work",
}


def test_into_an_empty_home(tmp_path: Path) -> None:
    file = tmp_path / "home/.kube/config"
    kubeconfig.install(OURS, file)
    assert yaml.safe_load(file.read_text())["current-context"] == "pykube"
    assert file.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in file.parent.iterdir()] == ["config"]


def test_other_clusters_stay_and_come_back(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(yaml.safe_dump(OTHER))
    kubeconfig.install(OURS, file)
    both = yaml.safe_load(file.read_text())
    assert [context["name"] for context in both["contexts"]] == ["work", "pykube"]
    assert both["preferences"] == {"colors": True}
    assert kubeconfig.remove(file)
    after = yaml.safe_load(file.read_text())
    assert after == {**OTHER, "current-context": ""}


def test_a_new_cluster_replaces_the_old_entry(tmp_path: Path) -> None:
    file = tmp_path / "config"
    kubeconfig.install(OURS, file)
    moved = {**OURS, "clusters": [{"name": "pykube", "cluster": {"server": "https://127.0.0.1:7443"}}]}
    kubeconfig.install(moved, file)
    assert [entry["cluster"]["server"] for entry in yaml.safe_load(file.read_text())["clusters"]] == [
        "https://127.0.0.1:7443"
    ]


def test_another_current_context_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(yaml.safe_dump(kubeconfig.merged(OTHER, OURS) | {"current-context": "work"}))
    assert kubeconfig.remove(file)
    assert yaml.safe_load(file.read_text())["current-context"] == "work"


def test_nothing_to_remove(tmp_path: Path) -> None:
    assert not kubeconfig.remove(tmp_path / "missing")
    file = tmp_path / "config"
    file.write_text(yaml.safe_dump(OTHER))
    before = file.read_bytes()
    assert not kubeconfig.remove(file)
    assert file.read_bytes() == before


def test_a_broken_file_is_not_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text("clusters: [")
    with pytest.raises(Problem, match="not valid YAML"):
        kubeconfig.install(OURS, file)
    assert file.read_text() == "clusters: ["
    assert not (tmp_path / "config.lock").exists()


def test_a_lock_that_stays_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubeconfig, "LOCK_TIMEOUT", 0.0)
    (tmp_path / "config.lock").touch()
    with pytest.raises(Problem, match=r"config\.lock exists"):
        kubeconfig.install(OURS, tmp_path / "config")


def test_location_follows_kubectl() -> None:
    assert kubeconfig.location({"KUBECONFIG": ":/a:/b", "HOME": "/h"}) == Path("/a")
    assert kubeconfig.location({"KUBECONFIG": "", "HOME": "/h"}) == Path("/h/.kube/config")


def test_a_symlinked_kubeconfig_stays_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "config"
    real.write_text(yaml.safe_dump(OTHER))
    link.symlink_to(real)
    kubeconfig.install(OURS, link)
    assert link.is_symlink()
    assert yaml.safe_load(real.read_text())["current-context"] == "pykube"


def test_another_cluster_of_the_same_name_is_not_ours_to_remove(tmp_path: Path) -> None:
    file = tmp_path / "config"
    kubeconfig.install(OURS, file)
    assert not kubeconfig.remove(file, server="https://127.0.0.1:7443")
    assert kubeconfig.remove(file, server="https://127.0.0.1:6443")
