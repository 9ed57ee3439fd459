"""The front: raw ASGI for the hot path, ahead of every framework's middleware.

It answers POST /v1/predict and GET /v1/features/{customer_id} itself, lets the few system routes of the server
around it pass, and gives everything else to the API application. No request with a customer's id in its path reaches
the server's own middleware, whose access log and metrics would keep the path.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any, Final

from churn_platform.errors import ChurnError, RequestError
from churn_platform.serving import asgi, problems, validation
from churn_platform.serving.asgi import App, Receive, Scope, Send
from churn_platform.serving.degraded import for_vector
from churn_platform.serving.lookup import features_of, vector_of
from churn_platform.serving.runtime import Runtime
from churn_platform.serving.schemas import Prediction

log = logging.getLogger("churn_platform.serving")

PREDICT: Final = "/v1/predict"
FEATURES: Final = "/v1/features/"
# As the API application names it, for the metrics.
FEATURES_ROUTE: Final = "/v1/features/{customer_id:path}"


class Front:
    """The outermost ASGI application.

    Args:
        app: the server's own application: gets lifespan events and the ``passed`` paths. ``None``: there is
            none.
        runtime: what this process holds.
        api: the application for all other routes.
        passed: exact paths that belong to ``app``.
    """

    def __init__(self, app: App | None, *, runtime: Runtime, api: App, passed: frozenset[str] = frozenset()) -> None:
        self._app = app
        self._runtime = runtime
        self._api = api
        self._passed = passed if app else frozenset()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection."""
        if scope["type"] != "http":
            if self._app is not None:
                await self._app(scope, receive, send)
            else:
                await _lifespan(scope, receive, send)
        elif scope["path"] in self._passed and self._app is not None:
            await self._app(scope, receive, send)
        else:
            await self._counted(scope, receive, send)

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, turn what is raised into a problem, and count."""
        began = time.perf_counter()
        status = 0

        async def watched(message: asgi.Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        path, route = scope["path"], ""
        try:
            if path == PREDICT:
                route = PREDICT
                await self._predict(scope, receive, watched)
            elif path.startswith(FEATURES) and scope["method"] == "GET" and len(path) > len(FEATURES):
                route = FEATURES_ROUTE
                await self._features(scope, path[len(FEATURES) :], watched)
            else:
                await self._api(scope, receive, watched)
        except ConnectionError:
            return
        except Exception as error:
            if not status:  # else an answer is out already, and the API has logged what it raised
                await asgi.send_problem(watched, problem_for(error))
        finally:
            if status:
                route = route or getattr(scope.get("route"), "path", "unknown")
                method = scope["method"] if scope["method"] in _METHODS else "other"
                self._runtime.metrics.request(route, method, status, time.perf_counter() - began)

    async def _predict(self, scope: Scope, receive: Receive, send: Send) -> None:
        """POST /v1/predict."""
        if scope["method"] != "POST":
            problem = problems.http_problem(
                405,
                f"{PREDICT} answers POST, not {scope['method'][:16]}.",
                instance=problems.new_instance(),
                mend="Send the body with POST.",
            )
            await asgi.send_problem(send, problem, [(b"allow", b"POST")])
            return
        runtime = self._runtime
        caller = runtime.need_keys().authenticate(asgi.secret_of(scope["headers"]))
        caller.require("predict")
        scorer, predictions = runtime.need_scorer(), runtime.need_predictions()
        if refusal := wrong_media_type(scope):
            await asgi.send_problem(send, refusal)
            return
        body = await asgi.read_body(scope, receive, validation.MAX_BODY)
        if body is None:
            await asgi.send_problem(send, body_too_large())
            return
        request = validation.read_predict(body, scorer.kinds)
        # Nothing below waits: one request is scored at a time, in the model's own buffers.
        answer: Prediction
        values: Mapping[str, Any]
        pseudonym: str | None
        if request.customer_id is not None:
            vector = vector_of(runtime, request.customer_id)
            values, pseudonym = vector.values, vector.pseudonym
            month = f"{vector.as_of:%Y-%m-%d}" if vector.as_of else ""
            degraded = for_vector(scorer.reads, values, month, runtime.degraded)
            answer = scorer.answer(values, customer_id=request.customer_id, as_of=vector.as_of, degraded=degraded)
        else:
            values, pseudonym = request.features or {}, None
            answer = scorer.answer(values, customer_id=None, as_of=runtime.now())
        predictions.append(answer, scorer, values, pseudonym=pseudonym, key_id=caller.key_id)
        runtime.metrics.prediction(answer.variant, answer.model_version, answer.risk_band)
        await asgi.send_json(send, answer)

    async def _features(self, scope: Scope, customer_id: str, send: Send) -> None:
        """GET /v1/features/{customer_id}."""
        runtime = self._runtime
        runtime.need_keys().authenticate(asgi.secret_of(scope["headers"])).require("features:read")
        await asgi.send_json(send, features_of(runtime, customer_id))


_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def problem_for(error: Exception) -> problems.Problem:
    """The problem for an error; what only the operator may know goes to the log, under the same id.

    Messages of foreign errors are not logged: they may repeat a customer's id. Kind and place are.
    """
    instance = problems.new_instance()
    if isinstance(error, ChurnError):
        if not isinstance(error, RequestError):  # those are for the caller, and say everything to the caller
            log.error("%s: %s %s", instance, type(error).__name__, error)
        return problems.problem_of(error, instance=instance)
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "unknown place"
    log.error("%s: %s at %s", instance, type(error).__name__, place)
    return problems.http_problem(
        500,
        "The service failed to answer.",
        instance=instance,
        mend=f"Ask the operator of the service to look for {instance} in its log.",
    )


def wrong_media_type(scope: Scope) -> problems.Problem | None:
    """A 415 for a body that says it is something else than JSON; a body that says nothing is read as JSON."""
    given = asgi.header(scope["headers"], b"content-type")
    if given is None:
        return None
    media_type = given.partition(b";")[0].strip().lower()
    if media_type == b"application/json" or media_type.endswith(b"+json"):
        return None
    return problems.http_problem(
        415,
        "The body must be JSON.",
        instance=problems.new_instance(),
        mend="Send `Content-Type: application/json` and a JSON body.",
    )


def body_too_large() -> problems.Problem:
    """A 413."""
    return problems.http_problem(
        413,
        f"The body is larger than {validation.MAX_BODY} bytes.",
        instance=problems.new_instance(),
        mend="Send the features of one customer per request.",
    )


async def _lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    """Start and stop where no server's application does it."""
    if scope["type"] != "lifespan":
        return
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return
