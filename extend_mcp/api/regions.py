"""The regions Extend runs in, and the base URL of each."""

from typing import Final

REGION_BASE_URLS: Final[dict[str, str]] = {
    "us": "https://api.extend.ai",
    "us2": "https://api.us2.extend.app",
    "eu": "https://api.eu1.extend.ai",
}
"""Base URL by region name, no version in the path (Extend API reference, Regions). A key works in one region."""
