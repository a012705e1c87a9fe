"""What every answer is: facts as fields (structured content) and the same facts as short text."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, PrivateAttr
from pydantic.json_schema import GenerateJsonSchema

ViewT = TypeVar("ViewT", bound="View")


@dataclass(frozen=True)
class Link:
    """A resource of this server: what it is called, and how long it is in bytes where that is known."""

    uri: str
    title: str
    size: int | None = None


class ViewPart(BaseModel):
    """A part of an answer: facts that belong together."""

    # Built with the answer that holds it, or by the first one made: a client waits for the tool list, not for these.
    model_config = ConfigDict(defer_build=True)


class View(ViewPart):
    """One answer. Fields become structured content; :attr:`text` is what a model reads."""

    model_config = ConfigDict(extra="forbid")

    always: ClassVar[frozenset[str]] = frozenset()
    """Fields that are there even when they hold nothing: other programs look for them."""

    _text: str = PrivateAttr(default="")
    _links: list[Link] = PrivateAttr(default_factory=list)

    @classmethod
    def model_json_schema(cls, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The JSON schema of the fields. Without arguments it is made once, and not to be changed."""
        return super().model_json_schema(*args, **kwargs) if args or kwargs else _schema(cls)

    @property
    def text(self) -> str:
        """The answer as text."""
        return self._text

    @property
    def links(self) -> list[Link]:
        """Resources that hold more than this answer shows."""
        return self._links

    def with_link(self: ViewT, uri: str, title: str, size: int | None = None) -> ViewT:
        """Add a link to a resource with more, in place of showing it, and return the view."""
        self._links.append(Link(uri, title, size))
        return self

    def with_text(self: ViewT, text: str) -> ViewT:
        """Set the text that goes with these fields and return the view."""
        self._text = text
        return self

    def fields(self) -> dict[str, Any]:
        """The fields as JSON values; at the top level, what is absent is left out."""
        dumped = self.model_dump(mode="json")
        return {
            name: _without_nulls(value) for name, value in dumped.items() if value is not None or name in self.always
        }


class PlainDefaults(GenerateJsonSchema):
    """Takes a default that is JSON as it is; pydantic would make a type adapter for each, a tenth of a start."""

    def encode_default(self, dft: Any) -> Any:
        """The default as JSON."""
        return dft if dft is None or type(dft) in (bool, int, str) else super().encode_default(dft)


@cache
def _schema(view: type[View]) -> dict[str, Any]:
    # Many tools give the same kind of answer, and a client waits for all their schemas.
    return super(View, view).model_json_schema(schema_generator=PlainDefaults)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(item) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
