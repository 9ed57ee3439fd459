"""Everything but the hot path: models, online features, and the OpenAPI page, as a FastAPI application."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse

from churn_platform import __version__
from churn_platform.errors import ChurnError
from churn_platform.serving import asgi, openapi, problems
from churn_platform.serving.front import Front, problem_for
from churn_platform.serving.lookup import features_of
from churn_platform.serving.runtime import Runtime
from churn_platform.serving.schemas import CustomerFeatures, Models

# The page's script and style come from the server around us (BentoML ships them): no other host is asked.
STATIC: Final = "/static_content"
DOCS_ASSETS: Final = (f"{STATIC}/swagger-ui-bundle.js", f"{STATIC}/swagger-ui.css")


def build_app(runtime: Runtime, *, inner: asgi.App | None = None, passed: frozenset[str] = frozenset()) -> asgi.App:
    """The whole service as one ASGI application.

    Args:
        runtime: what this process holds; may be completed and swapped while it serves.
        inner: the server's own application, which gets lifespan events and the ``passed`` paths (health,
            metrics).
    """
    return Front(inner, runtime=runtime, api=build_api(runtime), passed=passed)


def build_api(runtime: Runtime) -> FastAPI:
    """The FastAPI application: every route but POST /v1/predict."""
    app = FastAPI(title="churn-platform", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)
    _describe(app)
    _answer_problems(app)
    _add_routes(app, runtime)
    return app


def _allow(runtime: Runtime, request: Request, scope: str) -> None:
    """Pass a caller whose key has a scope; raise UnauthenticatedError, ForbiddenError or NotReadyError."""
    runtime.need_keys().authenticate(asgi.secret_of(request.scope["headers"])).require(scope)


def _json(value: object) -> Response:
    headers = {"cache-control": "no-store"}
    return Response(asgi.encode(value), media_type="application/json", headers=headers)


def _add_routes(app: FastAPI, runtime: Runtime) -> None:
    security: dict[str, Any] = {"security": openapi.SECURITY}

    @app.get(
        "/v1/models",
        tags=["models"],
        summary="The models that answer",
        description="With the features they read. Needs the scope `models:read`.",
        responses=openapi.responses(Models, 401, 403, 500, 503),
        response_class=Response,
        openapi_extra=security,
    )
    async def models(request: Request) -> Response:
        _allow(runtime, request, "models:read")
        return _json(Models([runtime.need_scorer().info]))

    @app.get(
        "/v1/features/{customer_id:path}",
        tags=["features"],
        summary="The online vector of a customer",
        description="What a prediction by id is made from, with its time. Needs the scope `features:read`.",
        responses=openapi.responses(CustomerFeatures, 401, 403, 404, 500, 503),
        response_class=Response,
        openapi_extra={**security, "parameters": [openapi.CUSTOMER_ID]},
    )
    async def features(request: Request) -> Response:
        _allow(runtime, request, "features:read")
        # The front answers this itself; here it is described, and other methods are refused.
        return _json(features_of(runtime, str(request.path_params["customer_id"])))

    @app.get("/openapi.json", include_in_schema=False)
    async def document() -> Response:
        return JSONResponse(app.openapi())

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        script, style = DOCS_ASSETS
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title="churn-platform API",
            swagger_js_url=script,
            swagger_css_url=style,
            swagger_favicon_url="data:,",
        )

    @app.get("/", include_in_schema=False)
    async def index() -> RedirectResponse:
        return RedirectResponse("/docs")


def _describe(app: FastAPI) -> None:
    """Let the OpenAPI document hold what FastAPI does not know."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            plain = get_openapi(
                title=app.title,
                version=app.version,
                description="Who will leave, how likely, and why. Every `/v1` route needs an API key.",
                routes=app.routes,
            )
            app.openapi_schema = openapi.complete(plain)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _answer_problems(app: FastAPI) -> None:
    """Answer every error as problem details."""

    async def ours(_: Request, error: Exception) -> Response:
        return _problem(problem_for(error))

    async def http(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        headers = error.headers if isinstance(error, HTTPException) else None
        detail, mend = _explain(status, request.method)
        problem = problems.http_problem(status, detail, instance=problems.new_instance(), mend=mend)
        return _problem(problem, headers)

    app.add_exception_handler(ChurnError, ours)
    app.add_exception_handler(Exception, ours)
    app.add_exception_handler(HTTPException, http)


def _explain(status: int, method: str) -> tuple[str, str]:
    """Detail and mend of an error of HTTP. The path is not repeated: it may hold a customer's id."""
    if status == 404:
        return "There is no such route.", "See /docs for the routes of this service."
    if status == 405:
        return f"This route does not answer {method[:16]}.", "See /docs for its methods."
    return "The request cannot be answered.", ""


def _problem(problem: problems.Problem, extra: Mapping[str, str] | None = None) -> Response:
    headers = {name.decode(): value.decode() for name, value in problems.headers_of(problem)}
    headers |= {
        "x-request-id": problem.instance.removeprefix("urn:uuid:"),
        "cache-control": "no-store",
        **(extra or {}),
    }
    return Response(asgi.encode(problem), problem.status, headers, problems.MEDIA_TYPE)
