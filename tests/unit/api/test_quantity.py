"""Quantities: parsing, canonical form and arithmetic."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.canonical import canonicalize
from api.errors import StatusError
from api.quantity import Quantity, canonical
from api.types import core_v1, meta_v1


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("1024Mi", "1Gi"),
        ("1000M", "1G"),
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("0.1", "100m"),
        ("1.5Gi", "1536Mi"),
        (".001Ki", "1024m"),
        (".000000000001Ki", "2n"),
        ("1e3", "1e3"),
        ("100E3", "100e3"),
        ("1E", "1E"),
        ("0Gi", "0"),
        ("1023Ki", "1023Ki"),
        ("0.5Ki", "512"),
        ("-1024Ki", "-1Mi"),
        ("0.0000000001", "1n"),
        ("99Ei", "9223372036854775807"),
        (0.5, "500m"),
        (3, "3"),
    ],
)
def test_canonical_form(written: str | float, expected: str) -> None:
    assert canonical(written) == expected


@pytest.mark.parametrize("text", ["", "x", "1 Gi", "1.2.3", "m", "+", "1ee", "1K", "Ki", "--1", "1GiB"])
def test_malformed(text: str) -> None:
    with pytest.raises(ValueError, match="quantit"):
        Quantity(text)


def test_messages_are_upstreams() -> None:
    for text, message in (
        ("1K", "unable to parse quantity's suffix"),
        ("Gi", "unable to parse numeric part of quantity"),
    ):
        with pytest.raises(ValueError, match=message):
            Quantity(text)


quantities = st.builds(
    lambda sign, whole, fraction, suffix: f"{sign}{whole}{fraction}{suffix}",
    st.sampled_from(["", "-", "+"]),
    st.integers(0, 10**6),
    st.sampled_from(["", ".5", ".25", ".125", ".001"]),
    st.sampled_from(["", "n", "u", "m", "k", "M", "G", "Ki", "Mi", "Gi", "e3", "E-2", "e0"]),
)


@given(quantities)
def test_canonical_form_is_stable_and_equal(text: str) -> None:
    quantity = Quantity(text)
    assert canonical(str(quantity)) == str(quantity)
    assert Quantity(str(quantity)) == quantity


@given(quantities, quantities)
def test_arithmetic_is_exact(a: str, b: str) -> None:
    x, y = Quantity(a), Quantity(b)
    assert (x + y).fraction == x.fraction + y.fraction
    assert (x - y) + y == x
    assert (x < y) == (x.fraction < y.fraction)
    assert sum([x, y]) == x + y
    assert hash(x) == hash(Quantity(str(x)))


@given(st.integers(-(10**15), 10**15))
def test_rounding_is_away_from_zero(nanos: int) -> None:
    quantity = Quantity(f"{nanos}n")
    exact = Fraction(nanos, 10**9)
    assert abs(quantity.value) >= abs(exact) and abs(quantity.value - exact) < 1
    assert abs(quantity.milli) >= abs(exact * 1000) and abs(quantity.milli - exact * 1000) < 1


def test_format_of_results() -> None:
    assert str(Quantity("1Gi") + Quantity("512Mi")) == "1536Mi"
    assert str(Quantity("0") + Quantity("1Gi")) == "1Gi"
    assert str(Quantity("1Gi") * 3) == "3Gi"
    assert (Quantity("250m").milli, Quantity("250m").value, int(Quantity("2"))) == (250, 1, 2)
    assert str(Quantity.from_milli(1500)) == "1500m"
    assert str(Quantity.binary(2**20)) == "1Mi"


def test_an_objects_values_become_canonical() -> None:
    pod = core_v1.Pod(metadata=meta_v1.ObjectMeta(name="p", creation_timestamp="2026-01-02T03:04:05.123+01:00"))
    limits: dict[str, str | int | float] = {"cpu": 0.5, "memory": "1024Mi"}
    pod.spec.containers.append(core_v1.Container(name="c", resources=core_v1.ResourceRequirements(limits=limits)))
    canonicalize(pod)
    assert pod.spec.containers[0].resources.limits == {"cpu": "500m", "memory": "1Gi"}
    assert pod.metadata.creation_timestamp == "2026-01-02T02:04:05Z"


def test_malformed_values_of_an_object_are_a_bad_request() -> None:
    pod = core_v1.Pod()
    requests: dict[str, str | int | float] = {"cpu": "lots"}
    pod.spec.containers.append(core_v1.Container(name="c", resources=core_v1.ResourceRequirements(requests=requests)))
    with pytest.raises(StatusError) as caught:
        canonicalize(pod)
    assert caught.value.code == 400
    assert caught.value.message.startswith('Pod in version "v1" cannot be handled as a Pod: quantities must match')
    for data, position in (("a", 0), ("YW!j", 2), ("YWJj=", 4)):
        with pytest.raises(StatusError, match=f"illegal base64 data at input byte {position}"):
            canonicalize(core_v1.Secret(data={"k": data}))
    with pytest.raises(StatusError, match="parsing time"):
        canonicalize(core_v1.Pod(metadata=meta_v1.ObjectMeta(deletion_timestamp="yesterday")))
