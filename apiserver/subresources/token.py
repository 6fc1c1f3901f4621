"""`serviceaccounts/token`: issue a token (TokenRequest)."""

from __future__ import annotations

from api import codec, errors
from api.types.authentication_v1 import TokenRequest
from apiserver.operations import Call, Reply, handles
from apiserver.pipeline import decode
from apiserver.pipeline.admit import admit_mutating, admit_validating


@handles("", "serviceaccounts", "token", "create")
async def issue(call: Call) -> Reply:
    """Answers the request with its token. Raises StatusError 404 on a server that cannot sign."""
    ctx = call.ctx
    request = decode.decode(
        call.body,
        TokenRequest,
        ctx,
        call.validation,
        api_version="authentication.k8s.io/v1",
        name="TokenRequest",
    )
    issuer = call.registry.services.tokens
    if issuer is None:
        raise errors.not_found("serviceaccounts/token", ctx.name)
    if request.metadata.name and request.metadata.name != ctx.name:
        raise errors.bad_request(
            f'metadata.name: Invalid value: "{request.metadata.name}": must match the service account name if specified'
        )
    await admit_mutating(ctx, "CREATE", request, None)
    await admit_validating(ctx, "CREATE", request, None)
    return Reply(codec.encode(await issuer.issue(ctx.namespace, ctx.name, request)), 0, 201)
