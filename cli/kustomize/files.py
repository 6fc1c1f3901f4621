"""Finds and reads kustomizations and the files they name. Files outside a kustomization's own folder are refused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.errors import Object
from cli.kustomize.resource import KustomizeError

NAMES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
KNOWN = {
    *("apiVersion", "kind", "metadata", "resources", "bases", "components", "namespace", "namePrefix", "nameSuffix"),
    *("commonLabels", "labels", "commonAnnotations", "images", "replicas", "configMapGenerator", "secretGenerator"),
    *("generatorOptions", "patches", "patchesStrategicMerge", "patchesJson6902", "sortOptions"),
}
ELSEWHERE = {
    *("buildMetadata", "configurations", "crds", "generators", "helmChartInflationGenerator", "helmCharts"),
    *("helmGlobals", "openapi", "replacements", "transformers", "validators", "vars"),
}
DEPRECATED = {
    "bases": "resources",
    "commonLabels": "labels",
    "patchesStrategicMerge": "patches",
    "patchesJson6902": "patches",
}


@dataclass
class Kustomization:
    """One kustomization file, read."""

    root: Path
    content: Object
    warnings: list[str]

    def rows(self, key: str) -> list[Any]:
        found = self.content.get(key) or []
        if not isinstance(found, list):
            raise KustomizeError(f"invalid Kustomization: json: cannot unmarshal {key} into a list")
        return found

    def text(self, key: str) -> str:
        return str(self.content.get(key) or "")

    def file(self, name: str) -> Path:
        """A file of this kustomization, in or below its folder."""
        path = (self.root / name).resolve()
        if not path.exists():
            raise KustomizeError(_missing(name, path))
        if not path.is_relative_to(self.root):
            raise KustomizeError(f"security; file '{path}' is not in or below '{self.root}'")
        return path


def _missing(name: str, path: Path) -> str:
    return f"evalsymlink failure on '{path}' : lstat {path}: no such file or directory"


def refuse_remote(name: str) -> None:
    if name.startswith(("http:/", "https:/", "git@", "ssh:/", "git::")) or "?ref=" in name:
        raise KustomizeError(
            f"'{name}' is remote: pykubectl builds local kustomizations; fetch it first, or use 'kustomize build'"
        )


def load(folder: str | Path) -> Kustomization:
    """The kustomization of a folder. Raises `KustomizeError`."""
    given = str(folder)
    refuse_remote(given)
    root = Path(folder).resolve()
    if not root.exists():
        shown = root if Path(folder).is_absolute() else given
        raise KustomizeError(
            f"must build at directory: not a valid directory: evalsymlink failure on '{shown}' : lstat {root}: no such "
            "file or directory"
        )
    if not root.is_dir():
        raise KustomizeError(f"must build at directory: '{root}': file is not directory")
    found = [name for name in NAMES if (root / name).is_file()]
    if not found:
        raise KustomizeError(
            f"unable to find one of 'kustomization.yaml', 'kustomization.yml' or 'Kustomization' in directory '{root}'"
        )
    if len(found) > 1:
        raise KustomizeError(f"Found multiple kustomization files under: {root}")
    documents = parse((root / found[0]).read_text(), str(root / found[0]))
    content = documents[0] if documents else {}
    if not content:
        raise KustomizeError("kustomization.yaml is empty")
    for key in content:
        if key in ELSEWHERE:
            raise KustomizeError(
                f"the field '{key}' of {root / found[0]} is not supported by pykubectl; "
                "use 'kustomize build | pykubectl apply -f -'"
            )
        if key not in KNOWN:
            raise KustomizeError(f'invalid Kustomization: json: unknown field "{key}"')
    warnings = [
        f"'{old}' is deprecated. Please use '{new}' instead. Run 'kustomize edit fix' to update your Kustomization "
        "automatically."
        for old, new in DEPRECATED.items()
        if old in content
    ]
    return Kustomization(root, content, warnings)


def parse(text: str, source: str) -> list[Any]:
    """The documents of a file that are not empty; Lists are taken apart."""
    from cli.manifests import load_yaml

    out: list[Any] = []
    for value in load_yaml(text, source):
        if isinstance(value, dict) and str(value.get("kind") or "").endswith("List") and "items" in value:
            out.extend(value["items"] or [])
        elif value is not None:
            out.append(value)
    return out


def objects(where: Kustomization, name: str) -> list[Object]:
    """The objects of a resource file."""
    path = where.file(name)
    found = parse(path.read_text(), name)
    for value in found:
        for key in ("metadata", "kind"):
            if not isinstance(value, dict) or not value.get(key):
                raise KustomizeError(f"missing Resource {key}")
        if not str(value["kind"]).endswith("List") and not (
            value["metadata"].get("name") or value["metadata"].get("generateName")
        ):
            raise KustomizeError("missing metadata.name in object " + str(value))
    return found
