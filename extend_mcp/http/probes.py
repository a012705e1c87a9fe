"""What an operator's tools ask: is the process alive, should it get requests, what has it done."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from extend_mcp.http.lifecycle import Lifecycle
from extend_mcp.telemetry.metrics import Metrics
from extend_mcp.telemetry.prometheus import PrometheusMetrics


def probe_routes(lifecycle: Lifecycle, metrics: Metrics) -> list[BaseRoute]:
    """/healthz, /readyz, and /metrics where something is counted. They tell nothing of callers and ask for none."""

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok")

    async def readyz(_: Request) -> Response:
        ready = not lifecycle.draining
        return JSONResponse({"ready": ready, "calls": lifecycle.calls}, status_code=200 if ready else 503)

    routes: list[BaseRoute] = [Route("/healthz", healthz), Route("/readyz", readyz)]
    if isinstance(metrics, PrometheusMetrics):

        async def scrape(request: Request) -> Response:
            body, content_type = metrics.render(request.headers.get("accept"))
            return Response(body, headers={"Content-Type": content_type})

        routes.append(Route("/metrics", scrape))
    return routes
