"""What is stored cannot be read without the key; keys are rotated without a moment in which nothing is readable."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import yaml

from api import codec
from apiserver.store import Store
from apiserver.store.encrypted import EncryptedStore
from apiserver.store.encryption import Undecryptable, load
from apiserver.store.memory import MemoryStore
from tests.support.api import running
from tests.support.rest import Rest
from tests.support.store_behaviour import StoreBehaviour

KEY = "/registry/core/secrets/default/s"


def secret() -> str:
    return base64.b64encode(os.urandom(32)).decode()


ONE, TWO, OLD = ({"name": name, "secret": secret()} for name in ("one", "two", "old"))
IDENTITY: dict[str, Any] = {"identity": {}}


def write(path: Path, *providers: Any, resources: tuple[str, ...] = ("secrets",)) -> Path:
    entry = {"resources": list(resources), "providers": list(providers)}
    document = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "EncryptionConfiguration", "resources": [entry]}
    path.write_text(yaml.safe_dump(document))
    os.utime(path, ns=(write.moment, write.moment))  # type: ignore[attr-defined]
    write.moment += 1_000_000_000  # type: ignore[attr-defined]
    return path


write.moment = 1_700_000_000_000_000_000  # type: ignore[attr-defined]  (a file system's clock may be coarse)


def gcm(*keys: Any) -> dict[str, Any]:
    return {"aesgcm": {"keys": list(keys)}}


class TestEncryptedStore(StoreBehaviour):
    @pytest_asyncio.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[Store]:
        made = EncryptedStore(MemoryStore(), write(tmp_path / "e.yaml", gcm(ONE), resources=("*.*",)))
        yield made
        await made.close()


async def test_what_is_stored_shows_the_key_and_not_the_value(tmp_path: Path) -> None:
    inner = MemoryStore()
    store = EncryptedStore(inner, write(tmp_path / "e.yaml", gcm(ONE, TWO), IDENTITY))
    await store.create(KEY, b'{"data":"hunter2"}')
    await store.create("/registry/core/configmaps/default/c", b"plain")
    kept, _ = await inner.get(KEY)
    assert kept is not None and kept.value.startswith(b"k8s:enc:aesgcm:v1:one:") and b"hunter2" not in kept.value
    assert (await inner.get("/registry/core/configmaps/default/c"))[0][1] == b"plain"  # type: ignore[index]


async def test_a_value_moved_to_another_object_does_not_decrypt(tmp_path: Path) -> None:
    inner = MemoryStore()
    store = EncryptedStore(inner, write(tmp_path / "e.yaml", gcm(ONE)))
    await store.create(KEY, b"hunter2")
    kept, _ = await inner.get(KEY)
    assert kept is not None
    await inner.create(KEY + "2", kept.value)
    with pytest.raises(Undecryptable, match="message authentication failed"):
        await store.get(KEY + "2")


@pytest.mark.parametrize("before", [{"aescbc": {"keys": [OLD]}}, gcm(OLD), IDENTITY], ids=["aescbc", "aesgcm", "none"])
async def test_every_listed_key_reads_and_only_the_first_writes(tmp_path: Path, before: Any) -> None:
    inner = MemoryStore()
    path = write(tmp_path / "e.yaml", before)
    store = EncryptedStore(inner, path)
    revision = await store.create(KEY, b"hunter2")
    write(path, gcm(ONE), before)
    assert store.reload() and not store.reload()
    record, _ = await store.get(KEY)
    assert record is not None and record.value == b"hunter2"
    assert store.outdated(KEY)
    await store.update(KEY, b"hunter2", revision=revision)
    await store.get(KEY)
    assert not store.outdated(KEY)
    write(path, gcm(ONE))
    store.reload()
    assert (await store.get(KEY))[0] is not None


async def test_a_key_that_another_server_got_first_is_read_from_the_file(tmp_path: Path) -> None:
    inner = MemoryStore()
    path = write(tmp_path / "e.yaml", gcm(ONE))
    store = EncryptedStore(inner, path)
    other = EncryptedStore(inner, write(tmp_path / "other.yaml", gcm(TWO, ONE)))
    await other.create(KEY, b"hunter2")
    with pytest.raises(Undecryptable, match=f'unable to transform key "{KEY}": no matching prefix found'):
        await store.get(KEY)
    write(path, gcm(ONE, TWO))
    assert (await store.get(KEY))[0] is not None


async def test_a_broken_file_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "e.yaml", gcm(ONE))
    store = EncryptedStore(MemoryStore(), path)
    await store.create(KEY, b"hunter2")
    write(path, gcm({"name": "one", "secret": "c2hvcnQ="}))
    assert not store.reload()
    assert (await store.get(KEY))[0] is not None
    assert "secret is not of the expected length, got 5" in caplog.text and "c2hvcnQ=" not in caplog.text


@pytest.mark.parametrize(
    ("provider", "message"),
    [
        ({"kms": {}}, r"resources\[0\].providers\[0\].kms: Unsupported value"),
        ({}, "exactly one provider must be specified per element"),
        (gcm(), "at least one key must be specified"),
        (gcm({"name": "a:b", "secret": "x"}), "must not contain ':'"),
        (gcm({"name": "a", "secret": "???"}), "secret must be base64 encoded"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(tmp_path: Path, provider: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(write(tmp_path / "e.yaml", provider))


async def test_rewriting_an_unchanged_secret_moves_it_to_the_new_key(tmp_path: Path) -> None:
    """`kubectl get secrets -o json | kubectl replace -f -`, as the documentation of upstream says."""
    inner = MemoryStore()
    path = write(tmp_path / "e.yaml", IDENTITY)
    store = EncryptedStore(inner, path)
    async with running(store) as (server, _), aiohttp.ClientSession() as session:
        rest = Rest(session, server.rest_url)
        base = "/api/v1/namespaces/default/secrets"
        made = await rest.call("POST", base, {"metadata": {"name": "s"}, "data": {"a": "aHVudGVyMg=="}}, code=201)
        same = await rest.call("PUT", base + "/s", made, code=200)
        assert same["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
        write(path, gcm(ONE), IDENTITY)
        store.reload()
        again = await rest.call("PUT", base + "/s", made, code=200)
        assert again["metadata"]["resourceVersion"] != made["metadata"]["resourceVersion"]
        kept, _ = await inner.get(KEY)
        assert kept is not None and kept.value.startswith(b"k8s:enc:aesgcm:v1:one:")
        async with asyncio.timeout(5):
            while (await rest.call("GET", base))["metadata"]["resourceVersion"] != again["metadata"]["resourceVersion"]:
                await asyncio.sleep(0.01)
        assert (await rest.call("GET", base + "/s"))["data"] == {"a": "aHVudGVyMg=="}
        assert codec.encode(again).count(b"aHVudGVyMg==") == 1
