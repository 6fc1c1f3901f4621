"""kubeconfig files: merging, relative paths, overrides, and that a change goes back to the right file."""

from __future__ import annotations

import base64
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.errors import CliError
from cli.kubeconfig import Kubeconfig


def write(path: Path, *, name: str, current: str = "", **cluster: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    doc = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": f"https://{name}:6443", **cluster}}],
        "users": [{"name": name, "user": {"token": f"token-{name}"}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": f"ns-{name}"}}],
    }
    if current:
        doc["current-context"] = current
    path.write_text(yaml.safe_dump(doc))
    return path


def load(*paths: Path) -> Kubeconfig:
    return Kubeconfig.load(environ={"KUBECONFIG": ":".join(str(path) for path in paths)})


def test_files_merge_and_the_first_wins(tmp_path: Path) -> None:
    one, two = write(tmp_path / "1", name="a", current="a"), write(tmp_path / "2", name="b", current="b")
    both = write(tmp_path / "3", name="a", **{"tls-server-name": "other"})
    config = load(one, tmp_path / "missing", two, both)
    assert config.current_context == "a"
    assert list(config.entries("contexts")) == ["a", "b"]
    rest = config.rest_config({"context": "b"})
    assert (rest.server, rest.token, rest.namespace) == ("https://b:6443", "token-b", "ns-b")
    assert config.rest_config({}).tls_server_name == ""


def test_paths_are_relative_to_their_file(tmp_path: Path) -> None:
    path = write(tmp_path / "dir" / "config", name="a", current="a", **{"certificate-authority": "pki/ca.crt"})
    assert load(path).rest_config({}).ca_file == str(tmp_path / "dir" / "pki" / "ca.crt")


def test_embedded_data_is_decoded(tmp_path: Path) -> None:
    data = base64.b64encode(b"PEM").decode()
    path = write(tmp_path / "c", name="a", current="a", **{"certificate-authority-data": data})
    assert load(path).rest_config({}).ca_data == b"PEM"


def test_flags_override(tmp_path: Path) -> None:
    config = load(write(tmp_path / "c", name="a", current="a"))
    rest = config.rest_config(
        {
            "server": "http://x:1/",
            "token": "t",
            "namespace": "n",
            "as_user": "u",
            "as_group": ("g", "h"),
            "request_timeout": "1m",
        }
    )
    assert (rest.server, rest.token, rest.namespace, rest.namespace_given) == ("http://x:1", "t", "n", True)
    assert rest.impersonate == {"Impersonate-User": ["u"], "Impersonate-Group": ["g", "h"]}
    assert rest.timeout == 60


def test_unknown_context_is_an_error(tmp_path: Path) -> None:
    config = load(write(tmp_path / "c", name="a", current="a"))
    with pytest.raises(CliError, match='context "zz" does not exist'):
        config.rest_config({"context": "zz"})


def test_without_configuration_it_is_localhost(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    rest = Kubeconfig.load(environ={}).rest_config({})
    assert (rest.server, rest.namespace) == ("http://localhost:8080", "default")


def test_a_change_goes_to_the_file_of_its_entry(tmp_path: Path) -> None:
    one, two = write(tmp_path / "1", name="a", current="a"), write(tmp_path / "2", name="b")
    untouched = one.read_text()
    config = load(one, two)
    config.set_entry("contexts", "b", {"cluster": "b", "user": "b", "namespace": "changed"})
    config.save()
    assert one.read_text() == untouched
    assert yaml.safe_load(two.read_text())["contexts"][0]["context"]["namespace"] == "changed"


def test_new_entries_go_to_the_first_file_and_keep_unknown_fields(tmp_path: Path) -> None:
    one = write(tmp_path / "1", name="a", current="a")
    one.write_text(one.read_text() + "extensions:\n- name: mine\n  extension: {x: 1}\n")
    config = load(one)
    config.set_entry("clusters", "new", {"server": "https://new"})
    config.set_current_context("b")
    config.save()
    doc = yaml.safe_load(one.read_text())
    assert [row["name"] for row in doc["clusters"]] == ["a", "new"]
    assert doc["current-context"] == "b"
    assert doc["extensions"] == [{"name": "mine", "extension": {"x": 1}}]


def test_a_new_file_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    config = Kubeconfig.load_for_change()
    config.set_entry("users", "u", {"token": "secret"})
    config.save()
    made = tmp_path / ".kube" / "config"
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert yaml.safe_load(made.read_text())["users"] == [{"name": "u", "user": {"token": "secret"}}]


def test_broken_file_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "c"
    path.write_text("clusters: [")
    with pytest.raises(CliError, match=f'error loading config file "{path}": yaml: line '):
        load(path)
