"""How our tools differ from the SDK's: unknown arguments are refused, wrong ones explained in a few lines,
answers are views, and every error says what happened, whether anything changed, and what to do next.
"""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Annotated, Any, TypeVar, get_args, get_origin

from mcp.server.mcpserver import Context, authenticated_principal
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from mcp.server.mcpserver.utilities.context_injection import find_context_parameter
from mcp.server.mcpserver.utilities.func_metadata import ArgModelBase, FuncMetadata
from mcp.shared.exceptions import MCPError
from mcp_types import Annotations, CallToolResult, InputRequiredResult, ResourceLink, TextContent, ToolAnnotations
from pydantic import ConfigDict, ValidationError, create_model
from pydantic_core import ErrorDetails

from extend_mcp.api.errors import ExtendError
from extend_mcp.audit import Entry, confirmed
from extend_mcp.runs.times import format_instant
from extend_mcp.tools.args import Example
from extend_mcp.views.base import View
from extend_mcp.views.errors import error_words
from extend_mcp.views.untrusted import clean, cut

logger = logging.getLogger(__name__)

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

READ_ONLY = ToolAnnotations(read_only_hint=True, open_world_hint=True)
DESTRUCTIVE = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=True)
UPDATES = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=True)
CREATES = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=True)

_MOST_PROBLEMS = 5


class Refusal(Exception):  # noqa: N818 - a refusal is an answer, not a fault
    """A call that cannot be done as asked; its text tells the model what to do instead. Nothing was changed."""


@dataclass
class Toolset:
    """A named group of tools that an operator switches on or off together.

    Attributes:
        name: as settings and flags write it.
        about: what its tools do, for the docs.
        modules: the modules under ``extend_mcp.tools`` that add tools to it, in the order of the tools.
    """

    name: str
    about: str
    modules: tuple[str, ...]
    _added: list[Tool] = field(default_factory=list, init=False, repr=False)

    @property
    def tools(self) -> list[Tool]:
        """Its tools, in the order of its modules, which are imported now: a toolset that is off need not be."""
        modules = [f"extend_mcp.tools.{module}" for module in self.modules]
        for module in modules:
            import_module(module)
        # Another part may have imported one of them earlier.
        return sorted(self._added, key=lambda tool: modules.index(tool.fn.__module__))

    def tool(self, *, title: str, annotations: ToolAnnotations) -> Callable[[FunctionT], FunctionT]:
        """Add a function as a tool; its docstring is the description that every conversation pays for."""

        def register(function: FunctionT) -> FunctionT:
            self._added.append(_tool_of(function, title, annotations))
            return function

        return register


def _tool_of(function: Callable[..., Any], title: str, annotations: ToolAnnotations) -> Tool:
    # The SDK's own from_function would make the models and schemas once, for us to make them again.
    signature = inspect.signature(function, eval_str=True)
    context = find_context_parameter(function)
    fields: dict[str, Any] = {
        name: (parameter.annotation, ... if parameter.default is parameter.empty else parameter.default)
        for name, parameter in signature.parameters.items()
        if name != context
    }
    assert not any(hasattr(ArgModelBase, name) for name in fields), "an argument shadows an attribute of the model"
    arguments = create_model(f"{function.__name__}Arguments", __base__=_Arguments, **fields)
    returned = signature.return_annotation
    view = next(each for each in get_args(returned) or (returned,) if each is not InputRequiredResult)
    return ExtendTool(
        fn=function,
        name=function.__name__,
        title=title,
        description=" ".join((function.__doc__ or "").split()),
        parameters=_lean(arguments.model_json_schema()),
        fn_metadata=_Metadata(arg_model=arguments, output_schema=_output_schema(view), output_model=view),
        is_async=True,
        context_kwarg=context,
        annotations=annotations,
    )


class _Arguments(ArgModelBase):
    """Base of the models of arguments: an unknown one is refused."""

    model_config = ConfigDict(extra="forbid")


def _output_schema(view: type[View]) -> dict[str, Any]:
    lean = _lean(view.model_json_schema())
    for name in view.always:
        # These are sent even when null, so the schema must go on allowing it.
        lean["properties"][name] = {"type": [lean["properties"][name]["type"], "null"]}
    return lean


class _Metadata(FuncMetadata):
    """Arguments are parsed from JSON text only where no text is wanted: a file's text may well be JSON."""

    def pre_parse_json(self, data: dict[str, Any]) -> dict[str, Any]:
        parsed = dict(data)
        for name, value in data.items():
            known = self.arg_model.model_fields.get(name)
            if isinstance(value, str) and known is not None and _wants_object(known.annotation):
                try:
                    document = json.loads(value)
                except (ValueError, RecursionError):
                    continue
                if isinstance(document, (dict, list)):
                    parsed[name] = document
        return parsed


def _wants_object(annotation: Any) -> bool:
    parts = [get_args(part)[0] if get_origin(part) is Annotated else part for part in get_args(annotation)]
    kinds = {get_origin(part) or part for part in (annotation, *parts)}
    return bool(kinds & {dict, list}) and str not in kinds


class ExtendTool(Tool):
    """A tool whose function returns a :class:`View` (or asks the client for input)."""

    async def run(self, arguments: dict[str, Any], context: Context[Any, Any], convert_result: bool = False) -> Any:
        """Run the tool; failures that were foreseen become an answer marked as an error."""
        try:
            self.fn_metadata.validate_arguments(arguments)
        except ValidationError as error:
            return _failed(explain_arguments(self.name, self.fn_metadata, error))
        confirmed.set(None)
        try:
            result = await super().run(arguments, context, convert_result=False)
        except MCPError:
            self._audit(context, outcome="MCPError")
            raise
        except ToolError as error:
            cause = error.__cause__ or error
            self._audit(context, outcome=type(cause).__name__, request_id=getattr(cause, "request_id", None))
            return _failed(self._failure(cause))
        except BaseException:
            # The client cancelled the call: what was sent by then is in Extend's hands.
            self._audit(context, outcome="interrupted")
            raise
        if isinstance(result, InputRequiredResult):
            self._audit(context, outcome="asked")
            return result
        assert isinstance(result, View)
        self._audit(context, outcome=str(getattr(result, "outcome", "done")), view=result)
        links = [
            ResourceLink(
                type="resource_link",
                uri=link.uri,
                name=link.uri,
                title=link.title,
                mime_type="text/plain",
                size=link.size,
                annotations=Annotations(audience=["assistant"], priority=0.3),
            )
            for link in result.links
        ]
        return CallToolResult(
            content=[TextContent(type="text", text=result.text), *links], structured_content=result.fields()
        )

    def _audit(
        self, context: Context[Any, Any], *, outcome: str, view: View | None = None, request_id: str | None = None
    ) -> None:
        if self.annotations and self.annotations.read_only_hint:
            return
        app = context.request_context.lifespan_context
        facts = {name: getattr(view, name, None) for name in ("run_id", "batch_id", "id", "request_sent", "counts")}
        app.audit.note(
            Entry(
                at=format_instant(app.clock.now()),
                who=authenticated_principal(context.request_context) or "local",
                tool=self.name,
                target=facts["run_id"] or facts["batch_id"] or facts["id"],
                outcome=outcome,
                sent=facts["request_sent"],
                confirmed=confirmed.get(),
                counts=facts["counts"] or None,
                request_id=request_id,
            )
        )

    def _failure(self, cause: BaseException) -> str:
        changes = not (self.annotations and self.annotations.read_only_hint)
        if isinstance(cause, Refusal):
            return f"{cause} Nothing was changed." if changes else str(cause)
        if isinstance(cause, ExtendError):
            effect = ""
            if changes:
                effect = " Nothing was changed." if cause.effect == "none" else " It is unclear whether it took effect."
            return f"{error_words(cause)}.{effect} {cause.next_step}"
        logger.error("%s failed unexpectedly", self.name, exc_info=cause)
        effect = " It is unclear whether anything was changed: look before repeating." if changes else ""
        return f"{self.name} failed inside extend-mcp; its log (stderr) has the details.{effect}"


def _failed(text: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True)


def explain_arguments(tool: str, metadata: FuncMetadata, error: ValidationError) -> str:
    """Explain wrong arguments: field, rule and an example, one line each, at most five."""
    problems = error.errors(include_url=False, include_context=True)
    lines = [_explain(metadata, problem) for problem in problems[:_MOST_PROBLEMS]]
    if len(problems) > _MOST_PROBLEMS:
        lines.append(f"and {len(problems) - _MOST_PROBLEMS} more")
    return "\n".join([f"{tool}: wrong arguments; nothing was sent.", *(f"- {line}" for line in lines)])


def _explain(metadata: FuncMetadata, problem: ErrorDetails) -> str:
    path = ".".join(str(part) for part in problem["loc"][:1]) or "arguments"
    shown = cut(clean(path), 60)
    if problem["type"] == "extra_forbidden":
        return f"{shown}: not an argument of this tool. It has: {', '.join(metadata.arg_model.model_fields)}"
    known = metadata.arg_model.model_fields.get(path)
    example = next((mark.value for mark in _marks(known) if isinstance(mark, Example)), None) if known else None
    if example is None:
        return f"{shown}: {_rule(problem)}"
    written = example if example[0] in "{0123456789" else f'"{example}"'
    return f"{shown}: {_rule(problem)}. Example: {path}={written}"


def _marks(known: Any) -> list[Any]:
    # In an optional argument the marks stand inside the union's member.
    inner = [mark for part in get_args(known.annotation) for mark in getattr(part, "__metadata__", ())]
    return [*known.metadata, *inner]


def _rule(problem: ErrorDetails) -> str:
    if problem["type"] == "missing":
        return "is required"
    message = problem["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    return cut(message, 240)


def _lean(schema: dict[str, Any]) -> dict[str, Any]:
    """Drop what a model does not need from a schema: generated titles, null alternatives, null defaults."""
    lean = {key: _lean_value(key, value) for key, value in schema.items() if not _is_noise(key, value)}
    alternatives = lean.get("anyOf")
    if isinstance(alternatives, list):
        real = [item for item in alternatives if item != {"type": "null"}]
        if len(real) == 1 and len(real) < len(alternatives) and "default" not in lean:
            rest = {key: value for key, value in lean.items() if key != "anyOf"}
            return {**real[0], **rest}
    return lean


def _is_noise(key: str, value: Any) -> bool:
    return (key == "title" and isinstance(value, str)) or (key == "default" and value is None)


def _lean_value(key: str, value: Any) -> Any:
    if key in ("properties", "$defs") and isinstance(value, dict):
        return {name: _lean(item) for name, item in value.items()}
    if isinstance(value, dict):
        return _lean(value)
    if isinstance(value, list):
        return [_lean(item) if isinstance(item, dict) else item for item in value]
    return value
