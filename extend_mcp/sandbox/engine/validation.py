"""Check values that a request contains and refuse the first one that breaks a documented rule."""

from typing import Any, NoReturn

JsonObject = dict[str, Any]


class ApiError(Exception):
    """A request that gets an error response with this HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class InvalidFieldError(ApiError):
    """A body or query value that breaks a documented rule. The message names its path."""

    def __init__(self, status: int, message: str, path: str) -> None:
        super().__init__(status, f"{message}; Path: {path}")


class BodyReader:
    """Check the values of a JSON body. Refusals have the given HTTP status.

    Every method takes a value and its path in the body, and returns the value or raises InvalidFieldError.
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
        """Read a non-empty string."""
        if not isinstance(value, str) or not value:
            self.refuse("Required" if value is None else "Expected a non-empty string", path)
        return value

    def read_one_of(self, value: object, options: tuple[str, ...], path: str) -> str:
        """Read one of these strings."""
        if not isinstance(value, str) or value not in options:
            self.refuse(f"Expected one of {'|'.join(options)}", path)
        return value

    def refuse(self, message: str, path: str) -> NoReturn:
        """Refuse the body because of the value at a path."""
        raise InvalidFieldError(self._status, message, path)
