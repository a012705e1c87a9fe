"""Names that moved to :mod:`extend_mcp.views.document`."""

from extend_mcp.views.document import Link, PlainDefaults, View, ViewPart

__all__ = ["Link", "PlainDefaults", "View", "ViewPart"]
