"""Configure an `ExtendClient`: regions, credentials and limits."""

from dataclasses import dataclass
from typing import Final

from pydantic import SecretStr

from extend_mcp.api.wire import is_header_safe
from extend_mcp.urls import split_url

REGION_BASE_URLS: Final[dict[str, str]] = {
    "us": "https://api.extend.ai",
    "us2": "https://api.us2.extend.app",
    "eu": "https://api.eu1.extend.ai",
}
"""Base URL by region name, no version in the path (Extend API reference, Regions). A key works in one region."""


@dataclass(frozen=True)
class ClientConfig:
    """Hold the address, credentials and limits of one API client. No ValueError or repr shows the key.

    Organization-scoped keys need a workspace id, workspace keys do not (Extend API reference, Authentication). Timeouts
    are in seconds.
    """

    api_key: SecretStr | None
    base_url: str
    workspace_id: str | None = None
    connect_timeout: float = 5.0
    read_timeout: float = 30.0

    def __post_init__(self) -> None:
        url = split_url(self.base_url)
        if url is None or url.scheme not in {"http", "https"} or not url.hostname:
            raise ValueError("base_url must be an http or https URL with a host, in ASCII")
        # Credentials in the URL would be sent as a second Authorization and shown by repr.
        if url.username or url.password or url.query or url.fragment:
            raise ValueError("base_url must not contain credentials, a query or a fragment")
        if self.workspace_id is not None and not is_header_safe(self.workspace_id):
            raise ValueError("workspace_id must be printable ASCII without spaces")
