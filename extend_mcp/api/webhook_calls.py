"""Operations on webhook endpoints and subscriptions (Extend API reference, Webhooks)."""

from extend_mcp.api.models import Deleted, Page, WebhookEndpoint, WebhookSubscription
from extend_mcp.api.requests import (
    CreateWebhookEndpoint,
    CreateWebhookSubscription,
    UpdateWebhookEndpoint,
    UpdateWebhookSubscription,
)
from extend_mcp.api.session import Query, Session, path_segment


class WebhookCalls(Session):
    """Administer where Extend sends its events, and which."""

    async def list_webhook_endpoints(
        self,
        *,
        status: str | None = None,
        sort_dir: str | None = None,
        next_page_token: str | None = None,
        max_page_size: int | None = None,
    ) -> Page[WebhookEndpoint]:
        """List endpoints (`GET /webhook_endpoints`), one page per call; status is "enabled" or "disabled"."""
        query: Query = {
            "status": status,
            "sortDir": sort_dir,
            "nextPageToken": next_page_token,
            "maxPageSize": max_page_size,
        }
        return await self.get_list(WebhookEndpoint, "/webhook_endpoints", query)

    async def get_webhook_endpoint(self, endpoint_id: str) -> WebhookEndpoint:
        """Read one endpoint (`GET /webhook_endpoints/{id}`)."""
        return await self.send(WebhookEndpoint, "GET", f"/webhook_endpoints/{path_segment(endpoint_id)}")

    async def create_webhook_endpoint(self, body: CreateWebhookEndpoint) -> WebhookEndpoint:
        """Create an endpoint (`POST /webhook_endpoints`). Only this answer holds its signing secret."""
        return await self.send(WebhookEndpoint, "POST", "/webhook_endpoints", content=body.to_json())

    async def update_webhook_endpoint(self, endpoint_id: str, body: UpdateWebhookEndpoint) -> WebhookEndpoint:
        """Change an endpoint (`POST /webhook_endpoints/{id}`)."""
        path = f"/webhook_endpoints/{path_segment(endpoint_id)}"
        return await self.send(WebhookEndpoint, "POST", path, content=body.to_json())

    async def delete_webhook_endpoint(self, endpoint_id: str) -> Deleted:
        """Delete an endpoint (`DELETE /webhook_endpoints/{id}`)."""
        return await self.send(Deleted, "DELETE", f"/webhook_endpoints/{path_segment(endpoint_id)}")

    async def list_webhook_subscriptions(
        self,
        *,
        webhook_endpoint_id: str | None = None,
        resource_id: str | None = None,
        sort_dir: str | None = None,
        next_page_token: str | None = None,
        max_page_size: int | None = None,
    ) -> Page[WebhookSubscription]:
        """List subscriptions (`GET /webhook_subscriptions`), one page per call."""
        query: Query = {
            "webhookEndpointId": webhook_endpoint_id,
            "resourceId": resource_id,
            "sortDir": sort_dir,
            "nextPageToken": next_page_token,
            "maxPageSize": max_page_size,
        }
        return await self.get_list(WebhookSubscription, "/webhook_subscriptions", query)

    async def get_webhook_subscription(self, subscription_id: str) -> WebhookSubscription:
        """Read one subscription (`GET /webhook_subscriptions/{id}`)."""
        path = f"/webhook_subscriptions/{path_segment(subscription_id)}"
        return await self.send(WebhookSubscription, "GET", path)

    async def create_webhook_subscription(self, body: CreateWebhookSubscription) -> WebhookSubscription:
        """Subscribe an endpoint to one resource's events (`POST /webhook_subscriptions`)."""
        return await self.send(WebhookSubscription, "POST", "/webhook_subscriptions", content=body.to_json())

    async def update_webhook_subscription(
        self, subscription_id: str, body: UpdateWebhookSubscription
    ) -> WebhookSubscription:
        """Change which events a subscription sends (`POST /webhook_subscriptions/{id}`)."""
        path = f"/webhook_subscriptions/{path_segment(subscription_id)}"
        return await self.send(WebhookSubscription, "POST", path, content=body.to_json())

    async def delete_webhook_subscription(self, subscription_id: str) -> Deleted:
        """Delete a subscription (`DELETE /webhook_subscriptions/{id}`)."""
        return await self.send(Deleted, "DELETE", f"/webhook_subscriptions/{path_segment(subscription_id)}")
