"""Names, times and durations."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from api import duration, names
from api import time as api_time
from api.types.core_v1 import Container, PodSpec, PodTemplateSpec


def test_generated_names() -> None:
    made = names.generate("x" * 80)
    assert len(made) == 63
    assert set(made[58:]) <= set(names.ALPHABET)
    assert names.generate("web-") != names.generate("web-")


def test_template_hash_depends_on_content_and_collisions() -> None:
    template = PodTemplateSpec(spec=PodSpec(containers=[Container(name="a", image="i")]))
    same = PodTemplateSpec(spec=PodSpec(containers=[Container(name="a", image="i")]))
    other = PodTemplateSpec(spec=PodSpec(containers=[Container(name="a", image="j")]))
    assert names.pod_template_hash(template) == names.pod_template_hash(same)
    assert names.pod_template_hash(template) != names.pod_template_hash(other)
    assert names.pod_template_hash(template, 1) not in (names.pod_template_hash(template), "")
    assert not names.label_value(names.pod_template_hash(template))
    assert names.fnv32a(b"foobar") == 0xBF9CF968


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (names.dns1123_label, ["a", "a-1", "1a", "x" * 63], ["", "A", "-a", "a-", "a.b", "x" * 64, "a\n"]),
        (names.dns1123_subdomain, ["a.b", "x" * 253], ["a..b", ".a", "A.b", "x" * 254]),
        (names.dns1035_label, ["a1"], ["1a", ""]),
        (names.qualified_name, ["a", "A_b.c", "example.com/x"], ["", "/x", "a/b/c", "Ex/x", "x" * 64, "a/"]),
        (names.label_value, ["", "A.b_c-d"], ["-", "x" * 64, "a b"]),
        (names.config_map_key, ["a.b", "..data"[1:]], ["", "..", ".", "..x", "a/b"]),
        (names.port_name, ["http", "a-1"], ["", "1", "-a", "a--b", "Http", "x" * 16]),
        (names.environment_name, ["A", "a.b-c", "1 x"], ["", "a=b", "é"]),
        (names.path_segment, ["system:node", "a b"], [".", "..", "a/b", "a%b"]),
        (names.wildcard_subdomain, ["*.a.b"], ["*", "a.*.b", "a.b"]),
    ],
)
def test_checks(check: object, good: list[str], bad: list[str]) -> None:
    assert callable(check)
    for value in good:
        assert check(value) == [], value
    for value in bad:
        assert check(value), value


def test_messages_are_upstreams() -> None:
    assert names.dns1123_label("A") == [
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
        "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
        "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
    ]
    assert names.dns1123_label("x" * 64) == ["must be no more than 63 characters"]


def test_time() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    assert api_time.format_time(moment) == "2026-01-02T03:04:05Z"
    assert api_time.format_micro(moment) == "2026-01-02T03:04:05.000006Z"
    assert api_time.parse("2026-01-02T03:04:05.000006789Z") == moment
    assert api_time.parse("2026-01-02T04:04:05.000006+01:00") == moment
    assert api_time.parse(api_time.now()) <= datetime.now(UTC) <= api_time.parse("9999-01-01T00:00:00Z")
    assert api_time.seconds_since(None) == float("inf")
    for wrong in ("", "2026-01-02", "2026-13-02T00:00:00Z", "2026-01-02T03:04:05"):
        with pytest.raises(ValueError, match="parsing time"):
            api_time.parse(wrong)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1h30m", 5400), ("1.5s", 1.5), ("100ms", 0.1), ("-2s", -2), ("0", 0), ("1h0m0.5s", 3600.5), (".5s", 0.5)],
)
def test_durations(text: str, seconds: float) -> None:
    assert duration.parse(text) == seconds
    assert duration.parse(duration.format(seconds)) == seconds


def test_durations_as_go_writes_them() -> None:
    assert [duration.format(s) for s in (0, 1.5, 0.1, 5400, 61)] == ["0s", "1.5s", "100ms", "1h30m0s", "1m1s"]
    for wrong in ("", "1", "x", "1x", "-", "1h-3m", "+-1s"):
        with pytest.raises(ValueError, match="time: "):
            duration.parse(wrong)


def test_ages_as_tables_show_them() -> None:
    hour, day = 3600, 86400
    shown = {5: "5s", 119: "119s", 120: "2m", 192: "3m12s", 11 * 60 + 5: "11m", 3 * hour: "3h", 5 * hour + 60: "5h1m"}
    shown |= {9 * hour + 60: "9h", 3 * day + hour: "3d1h", 9 * day + hour: "9d", 800 * day: "2y70d", -5: "<invalid>"}
    assert {seconds: duration.human(seconds) for seconds in shown} == shown
