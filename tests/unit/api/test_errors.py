"""Status errors and field errors: codes, reasons and words."""

from __future__ import annotations

from api import errors
from api.errors import FieldError, Path


def test_words_and_codes() -> None:
    for error, code, reason, message in [
        (errors.not_found("deployments.apps", "web"), 404, "NotFound", 'deployments.apps "web" not found'),
        (errors.already_exists("pods", "web"), 409, "AlreadyExists", 'pods "web" already exists'),
        (
            errors.conflict("pods", "web"),
            409,
            "Conflict",
            'Operation cannot be fulfilled on pods "web": the object has been modified; please apply your changes to '
            "the latest version and try again",
        ),
        (errors.forbidden("pods", "", "no"), 403, "Forbidden", "pods is forbidden: no"),
        (errors.forbidden("pods", "x", "no"), 403, "Forbidden", 'pods "x" is forbidden: no'),
        (errors.forbidden("", "", "no"), 403, "Forbidden", "forbidden: no"),
        (errors.internal("boom"), 500, "InternalError", "Internal error occurred: boom"),
        (errors.expired("old"), 410, "Expired", "old"),
        (errors.timeout("slow"), 504, "Timeout", "Timeout: slow"),
    ]:
        assert (error.code, error.reason, error.message) == (code, reason, message)
        assert error.status.status == "Failure"
    details = errors.not_found("deployments.apps", "web").status.details
    assert details is not None and (details.name, details.group, details.kind) == ("web", "apps", "deployments")


def test_invalid_lists_its_causes() -> None:
    path = Path("spec").child("template", "spec", "containers").index(0).child("image")
    one = errors.invalid("Deployment.apps", "web", [FieldError.required(path)])
    assert one.message == ('Deployment.apps "web" is invalid: spec.template.spec.containers[0].image: Required value')
    assert one.code == 422
    [cause] = one.causes
    assert (cause.reason, cause.field, cause.message) == (
        "FieldValueRequired",
        "spec.template.spec.containers[0].image",
        "Required value",
    )
    two = errors.invalid(
        "Pod", "p", [FieldError.required("a"), FieldError.forbidden("b", "no"), FieldError.required("a")]
    )
    assert two.message == 'Pod "p" is invalid: [a: Required value, b: Forbidden: no]'
    assert len(two.causes) == 2


def test_field_errors() -> None:
    for error, expected in [
        (FieldError.invalid("f", "x", "bad"), 'f: Invalid value: "x": bad'),
        (FieldError.invalid("f", 3, "bad"), "f: Invalid value: 3: bad"),
        (FieldError.invalid("f", {"a": 1}, "bad"), 'f: Invalid value: {"a":1}: bad'),
        (FieldError.not_supported("f", "x", ["A", "B"]), 'f: Unsupported value: "x": supported values: "A", "B"'),
        (FieldError.duplicate("f", "x"), 'f: Duplicate value: "x"'),
        (FieldError.not_found("f", "x"), 'f: Not found: "x"'),
        (FieldError.too_long("f", "x" * 9, 5), "f: Too long: may not be more than 5 bytes"),
        (FieldError.too_many("f", 9, 1), "f: Too many: 9: must have at most 1 item"),
        (FieldError.required("f", "say it"), "f: Required value: say it"),
        (FieldError.invalid("f", 'a"b', "bad"), 'f: Invalid value: "a\\"b": bad'),
    ]:
        assert str(error) == expected


def test_predicates() -> None:
    error = errors.not_found("pods", "x")
    assert errors.is_not_found(error)
    assert not errors.is_conflict(error)
    assert not errors.is_not_found(ValueError())
    assert errors.is_gone(errors.expired("x"))
    assert errors.too_many_requests("later", 3).retry_after == 3


def test_paths() -> None:
    path = Path("spec").child("containers").index(0).key("x")
    assert str(path) == "spec.containers[0][x]"
    assert str(Path().child("metadata")) == "metadata"
