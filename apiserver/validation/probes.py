"""Probes and lifecycle hooks: the handlers that both are made of."""

from __future__ import annotations

from api.errors import FieldError, Path
from api.types import core_v1
from apiserver.validation import names
from apiserver.validation.common import not_negative

_NO_SECOND_HANDLER = "may not specify more than 1 handler type"
_MUST_BE_ONE = "must be 1"


def port_number_or_name(port: int | str, path: Path) -> list[FieldError]:
    if isinstance(port, int):
        return [FieldError.invalid(path, port, message) for message in names.port_number(port)]
    return [FieldError.invalid(path, port, message) for message in names.port_name(port)]


def lifecycle(value: core_v1.Lifecycle, grace: int | None, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    for field, handler in (("postStart", value.post_start), ("preStop", value.pre_stop)):
        if handler is not None:
            errors += _handler(handler, grace, path.child(field))
    return errors


def liveness(probe: core_v1.Probe, path: Path) -> list[FieldError]:
    errors = _probe(probe, path)
    if probe.success_threshold != 1:
        errors.append(FieldError.invalid(path.child("successThreshold"), probe.success_threshold, _MUST_BE_ONE))
    return errors


def readiness(probe: core_v1.Probe, path: Path) -> list[FieldError]:
    errors = _probe(probe, path)
    grace = probe.termination_grace_period_seconds
    if grace is not None:
        detail = "must not be set for readinessProbes"
        errors.append(FieldError.invalid(path.child("terminationGracePeriodSeconds"), grace, detail))
    return errors


#: A startup probe keeps the same rules as a liveness probe.
startup = liveness


def _probe(probe: core_v1.Probe, path: Path) -> list[FieldError]:
    errors = _handler(probe, None, path)
    for field, value in (
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ):
        if value is not None and value < 0:
            errors += not_negative(value, path.child(field))
    grace = probe.termination_grace_period_seconds
    if grace is not None and grace <= 0:
        errors.append(FieldError.invalid(path.child("terminationGracePeriodSeconds"), grace, "must be greater than 0"))
    return errors


def _handler(handler: core_v1.LifecycleHandler | core_v1.Probe, grace: int | None, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    count = 0
    if (command := handler.exec) is not None:
        count += 1
        if not command.command:
            errors.append(FieldError.required(path.child("exec").child("command")))
    if (http := handler.http_get) is not None:
        if count:
            errors.append(FieldError.forbidden(path.child("httpGet"), _NO_SECOND_HANDLER))
        else:
            errors += _http_get(http, path.child("httpGet"))
        count += 1
    if (tcp := handler.tcp_socket) is not None:
        if count:
            errors.append(FieldError.forbidden(path.child("tcpSocket"), _NO_SECOND_HANDLER))
        else:
            errors += port_number_or_name(tcp.port, path.child("tcpSocket").child("port"))
        count += 1
    if isinstance(handler, core_v1.Probe):
        if handler.grpc is not None:
            if count:
                errors.append(FieldError.forbidden(path.child("grpc"), _NO_SECOND_HANDLER))
            else:
                errors += port_number_or_name(handler.grpc.port, path.child("grpc").child("port"))
            count += 1
    elif handler.sleep is not None:
        if count:
            errors.append(FieldError.forbidden(path.child("sleep"), _NO_SECOND_HANDLER))
        elif handler.sleep.seconds < 0 or (grace is not None and handler.sleep.seconds > grace):
            detail = f"must be non-negative and less than terminationGracePeriodSeconds ({grace or 0})"
            errors.append(FieldError.invalid(path.child("sleep"), handler.sleep.seconds, detail))
        count += 1
    if not count:
        errors.append(FieldError.required(path, "must specify a handler type"))
    return errors


def _http_get(action: core_v1.HTTPGetAction, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    if not action.path:
        errors.append(FieldError.required(path.child("path")))
    if problems := port_number_or_name(action.port, path.child("port")):
        errors += problems
    if action.scheme not in ("HTTP", "HTTPS"):
        errors.append(FieldError.not_supported(path.child("scheme"), action.scheme, ("HTTP", "HTTPS")))
    for header in action.http_headers or ():
        errors += [
            FieldError.invalid(path.child("httpHeaders"), header.name, message)
            for message in names.http_header_name(header.name)
        ]
    return errors
