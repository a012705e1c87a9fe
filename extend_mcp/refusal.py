"""The one exception for calls that this server refuses on its own account."""

from __future__ import annotations

from typing import ClassVar


class CallRefusedError(Exception):
    """Raised when a call cannot be done as asked. The text says what to do instead.

    Attributes:
        changed_nothing: True when it is certain that nothing changed. Otherwise the text says what may have changed.
    """

    changed_nothing: ClassVar[bool] = True
