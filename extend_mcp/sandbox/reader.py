"""Reads parsed JSON bodies value by value; the first that is not as documented is refused with its path."""

from typing import Any, NoReturn

from extend_mcp.sandbox.errors import InvalidFieldError, JsonObject


class BodyReader:
    """Reads values of a body; refusals have the given HTTP status.

    Every method takes a value and its path in the body, returns the value and raises InvalidFieldError otherwise.
    """

    def __init__(self, status: int) -> None:
        self._status = status

    def read_object(self, value: object, path: str) -> JsonObject:
        """Read an object."""
        if not isinstance(value, dict):
            self.refuse("Required" if value is None else "Expected an object", path)
        return value

    def read_array(self, value: object, path: str) -> list[Any]:
        """Read an array."""
        if not isinstance(value, list):
            self.refuse("Required" if value is None else "Expected an array", path)
        return value

    def read_text(self, value: object, path: str) -> str:
        """Read a string with something in it."""
        if not isinstance(value, str) or not value:
            self.refuse("Required" if value is None else "Expected a non-empty string", path)
        return value

    def read_one_of(self, value: object, options: tuple[str, ...], path: str) -> str:
        """Read one of these strings."""
        if not isinstance(value, str) or value not in options:
            self.refuse(f"Expected one of {'|'.join(options)}", path)
        return value

    def refuse(self, message: str, path: str) -> NoReturn:
        """Refuse the body for the value at a path."""
        raise InvalidFieldError(self._status, message, path)
