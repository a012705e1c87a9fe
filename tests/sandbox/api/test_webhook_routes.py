from typing import Any

import httpx
import pytest

from extend_mcp.sandbox import Sandbox
from tests.sandbox.kit import endpoint, subscribe, workflow_id


async def test_only_the_create_response_has_the_secret(api: httpx.AsyncClient) -> None:
    made = await endpoint(api)
    secret = made.pop("signingSecret")
    assert secret.startswith("wss_")
    path = f"/webhook_endpoints/{made['id']}"
    assert (await api.get(path)).json() == made
    listed = (await api.get("/webhook_endpoints")).json()["data"]
    assert listed == [made]
    changed = (await api.post(path, json={"status": "disabled"})).json()
    assert changed == made | {"status": "disabled"}
    state = await api.get("/_sandbox/deliveries")
    assert secret not in state.text


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"extra": 1}, "extra"),
        ({"url": None}, "url"),
        ({"url": "ftp://x"}, "url"),
        ({"name": ""}, "name"),
        ({"enabledEvents": ["workflow_run.completed"]}, "enabledEvents.0"),
        ({"enabledEvents": None}, "enabledEvents"),
        ({"apiVersion": "2025-01-01"}, "apiVersion"),
        ({"status": "paused"}, "status"),
        ({"advancedOptions": {"headers": {"a": 1}}}, "advancedOptions.headers.a"),
        ({"advancedOptions": {"payload": {"format": "xml"}}}, "advancedOptions.payload.format"),
        ({"advancedOptions": {"payload": {"format": "url", "urlThresholdBytes": -1}}}, "urlThresholdBytes"),
    ],
)
async def test_a_bad_endpoint_is_refused_with_its_path(
    api: httpx.AsyncClient, change: dict[str, Any], path: str
) -> None:
    body = {"url": "https://x.example", "name": "n", "enabledEvents": [], "apiVersion": "2026-02-09", **change}
    response = await api.post("/webhook_endpoints", json=body)
    assert response.status_code == 400
    assert response.json()["message"].endswith(path)


@pytest.mark.parametrize(
    ("change", "status", "shown"),
    [
        ({"extra": 1}, 400, "extra"),
        ({"enabledEvents": []}, 400, "enabledEvents"),
        ({"enabledEvents": ["workflow.created"]}, 400, "enabledEvents.0"),
        ({"resourceType": "file"}, 400, "resourceType"),
        ({"resourceId": "workflow_none"}, 404, "Workflow not found"),
        ({"webhookEndpointId": "wh_none"}, 404, "Webhook endpoint not found"),
    ],
)
async def test_a_bad_subscription_is_refused(
    sandbox: Sandbox, api: httpx.AsyncClient, change: dict[str, Any], status: int, shown: str
) -> None:
    made = await endpoint(api)
    body = {
        "webhookEndpointId": made["id"],
        "resourceType": "workflow",
        "resourceId": workflow_id(sandbox),
        "enabledEvents": ["workflow_run.failed"],
        **change,
    }
    response = await api.post("/webhook_subscriptions", json=body)
    assert response.status_code == status
    assert response.json()["message"].endswith(shown)


async def test_the_life_of_a_subscription(sandbox: Sandbox, api: httpx.AsyncClient) -> None:
    one, other = await endpoint(api), await endpoint(api)
    made = await subscribe(api, one["id"], workflow_id(sandbox), "workflow_run.failed")
    path = f"/webhook_subscriptions/{made['id']}"
    changed = (await api.post(path, json={"enabledEvents": ["workflow_run.completed"]})).json()
    assert changed == made | {"enabledEvents": ["workflow_run.completed"]}
    assert (await api.get(path)).json() == changed
    for query, count in (
        ({"webhookEndpointId": one["id"]}, 1),
        ({"webhookEndpointId": other["id"]}, 0),
        ({"resourceId": workflow_id(sandbox)}, 1),
        ({"resourceId": "x"}, 0),
    ):
        assert len((await api.get("/webhook_subscriptions", params=query)).json()["data"]) == count
    assert (await api.delete(f"/webhook_endpoints/{one['id']}")).json() == {"id": one["id"]}
    assert (await api.get(path)).status_code == 404, "a subscription ends with its endpoint"
    second = await subscribe(api, other["id"], workflow_id(sandbox), "workflow_run.failed")
    assert (await api.delete(f"/webhook_subscriptions/{second['id']}")).json() == {"id": second["id"]}
    assert (await api.get("/webhook_subscriptions")).json()["data"] == []
