"""Build tools that differ from the SDK's: unknown arguments are refused, wrong ones explained in a few lines,
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

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.tools import Tool
from mcp.server.subscriptions import ResourceUpdated
from mcp.shared.exceptions import MCPError
from mcp_types import (
    LATEST_PROTOCOL_VERSION,
    Annotations,
    CallToolResult,
    InputRequiredResult,
    ResourceLink,
    TextContent,
    ToolAnnotations,
)
from pydantic import ConfigDict, ValidationError, create_model

from extend_mcp.api.errors import ExtendError
from extend_mcp.apps import view_meta
from extend_mcp.audit import WriteRecord, begin_write_record, write_record
from extend_mcp.callers import CallerContext
from extend_mcp.mcp_compat import ArgModelBase, FuncMetadata, find_context_parameter
from extend_mcp.refusal import CallRefusedError
from extend_mcp.runs.times import format_instant
from extend_mcp.scopes import scope_of_tool
from extend_mcp.telemetry.request_id import request_id as call_id
from extend_mcp.tools.explain import explain_arguments
from extend_mcp.tools.schema import schema_of
from extend_mcp.views.actions import WriteView
from extend_mcp.views.document import View, error_words
from extend_mcp.views.uris import run_uri

logger = logging.getLogger(__name__)

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

HOST_ARGUMENTS = frozenset({"wait_for_previous", "toolCallId", "sessionId", "action", "chatInput"})
"""Arguments that hosts add to every call: the first is Gemini CLI's, the others are n8n's."""

ACCOUNT_KEY = "extend-mcp/account"
"""The key of a result's ``_meta`` that holds the operator's name for the account."""


@dataclass
class Toolset:
    """A named group of tools that an operator switches on or off together.

    ``about`` says for the docs what its tools do. ``modules`` under ``extend_mcp.tools`` add tools to it, in order.
    """

    name: str
    about: str
    modules: tuple[str, ...]
    _added: list[ExtendTool] = field(default_factory=list, init=False, repr=False)

    @property
    def tools(self) -> list[ExtendTool]:
        """Its tools, in the order of its modules, which are imported now: a toolset that is off need not be."""
        modules = [f"extend_mcp.tools.{module}" for module in self.modules]
        for module in modules:
            import_module(module)
        # Another part may have imported one of them earlier.
        return sorted(self._added, key=lambda tool: modules.index(tool.fn.__module__))

    def tool(
        self, *, title: str, annotations: ToolAnnotations, scope: str | None = None, view: str | None = None
    ) -> Callable[[FunctionT], FunctionT]:
        """Add a function as a tool; its docstring is the description that every conversation pays for.

        A caller needs ``scope``, by default the toolset's scope for reading or writing. Hosts that show interactive
        views show the answers in ``view``.
        """

        def register(function: FunctionT) -> FunctionT:
            # The SDK's own from_function would make the models and schemas once, for us to make them again.
            signature = inspect.signature(function, eval_str=True)
            context = find_context_parameter(function)
            fields: dict[str, Any] = {
                name: (parameter.annotation, ... if parameter.default is parameter.empty else parameter.default)
                for name, parameter in signature.parameters.items()
                if name != context
            }
            assert not any(hasattr(ArgModelBase, name) for name in fields), "an argument shadows one of the model"
            arguments = create_model(f"{function.__name__}Arguments", __base__=_Arguments, **fields)
            returned = signature.return_annotation
            shown = next(each for each in get_args(returned) or (returned,) if each is not InputRequiredResult)
            tool = ExtendTool(
                fn=function,
                name=function.__name__,
                title=title,
                description=" ".join((function.__doc__ or "").split()),
                parameters=schema_of(arguments),
                fn_metadata=_Metadata(arg_model=arguments, output_schema=_output_schema(shown), output_model=shown),
                is_async=True,
                context_kwarg=context,
                annotations=annotations,
                meta=view_meta(view) if view else None,
                scope=scope or scope_of_tool(self.name, read_only=bool(annotations.read_only_hint)),
            )
            self._added.append(tool)
            return function

        return register


class _Arguments(ArgModelBase):
    """Base of the models of arguments: an unknown one is refused. The first call of a tool builds its validator."""

    model_config = ConfigDict(extra="forbid", defer_build=True)


def _output_schema(view: type[View]) -> dict[str, Any]:
    schema = schema_of(view)
    properties: dict[str, Any] = schema["properties"]
    # These are sent even when null, so the schema must allow it.
    nullable = {name: {"type": [properties[name]["type"], "null"]} for name in view.always}
    return {**schema, "properties": {**properties, **nullable}}


class _Metadata(FuncMetadata):
    """Parses arguments from JSON text only where no text is wanted: a file's text may well be JSON."""

    def pre_parse_json(self, data: dict[str, Any]) -> dict[str, Any]:
        """Drop nulls of optional arguments, which strict modes send, and what hosts add to every call."""
        parsed: dict[str, Any] = {}
        for name, value in data.items():
            known = self.arg_model.model_fields.get(name)
            is_dropped = name in HOST_ARGUMENTS if known is None else value is None and not known.is_required()
            if not is_dropped:
                parsed[name] = _object_in(value) if known and _wants_object(known.annotation) else value
        return parsed


def _object_in(value: Any) -> Any:
    """Return the object or list that a JSON text is; anything else unchanged."""
    try:
        document = json.loads(value)
    except (TypeError, ValueError, RecursionError):
        return value
    return document if isinstance(document, (dict, list)) else value


def _wants_object(annotation: Any) -> bool:
    parts = [get_args(part)[0] if get_origin(part) is Annotated else part for part in get_args(annotation)]
    kinds = {get_origin(part) or part for part in (annotation, *parts)}
    return bool(kinds & {dict, list}) and str not in kinds


class ExtendTool(Tool):
    """A tool whose function returns a :class:`View` (or asks the client for input)."""

    scope: str  # what a caller needs to see and use it

    async def run(self, arguments: dict[str, Any], context: Context[Any, Any], convert_result: bool = False) -> Any:
        """Run the tool. Expected failures become an answer marked as an error.

        Arguments are validated once, here. The SDK's own `run` would validate them again.
        """
        app: CallerContext = context.request_context.lifespan_context.current()
        begun, record = app.clock.monotonic(), begin_write_record()
        app.metrics.count("calls_in_flight")
        # The outcome of a call that its client cancels: Extend may have received what was sent by then.
        outcome, answer, written = "interrupted", None, None
        try:
            outcome, answer, written = await self._run(arguments, context, app)
        except MCPError:
            outcome = "MCPError"
            raise
        finally:
            if record.verdict not in (None, "allowed"):
                app.metrics.count("guard_refusals_total", tool=self.name, verdict=record.verdict)
            if not self._reads_only and outcome != "wrong_arguments":
                write_audit_line(app, self.name, outcome, record, written)
            app.metrics.count("calls_in_flight", -1)
            app.metrics.count("tool_calls_total", tool=self.name, outcome=outcome)
            app.metrics.observe("tool_call_seconds", app.clock.monotonic() - begun, tool=self.name)
            app.metrics.count("answer_characters_total", _characters(answer), tool=self.name)
        if written and written.changed_run:
            await app.bus.publish(ResourceUpdated(run_uri(written.changed_run)))
        return answer

    async def _run(
        self, arguments: dict[str, Any], context: Context[Any, Any], app: CallerContext
    ) -> tuple[str, CallToolResult | InputRequiredResult, WriteView | None]:
        """Run the tool; return the outcome in a word, the answer, and the view of what was written, if it is one."""
        try:
            validated = self.fn_metadata.validate_arguments(arguments)
        except ValidationError as error:
            return "wrong_arguments", _failed(explain_arguments(self.name, self.fn_metadata, error)), None
        if self.context_kwarg is not None:
            validated[self.context_kwarg] = context
        try:
            result = await self.fn(**validated)
        except MCPError:
            raise
        except Exception as error:
            if isinstance(error, ExtendError) and error.request_id:
                write_record().request_ids.append(error.request_id)
            refused = isinstance(error, CallRefusedError)
            return "refused" if refused else type(error).__name__, _failed(self._failure(error)), None
        if isinstance(result, InputRequiredResult):
            return "asked", result, None
        assert isinstance(result, View)
        label = app.caller.account.label
        # ``resource_link`` came with 2025-06-18.
        links = (context.protocol_version or LATEST_PROTOCOL_VERSION) >= "2025-06-18"
        written = result if isinstance(result, WriteView) else None
        if written and label:
            written.account = label
            written.with_text(f"[{label}] {written.text}")
        return str(vars(result).get("outcome", "done")), _answer(result, links=links, label=label), written

    @property
    def _reads_only(self) -> bool:
        return bool(self.annotations and self.annotations.read_only_hint)

    def _failure(self, cause: Exception) -> str:
        changes = not self._reads_only
        if isinstance(cause, CallRefusedError):
            return f"{cause} Nothing was changed." if changes and cause.changed_nothing else str(cause)
        if isinstance(cause, ExtendError):
            effect = ""
            if changes:
                effect = " Nothing was changed." if cause.effect == "none" else " It is unclear whether it took effect."
            return f"{error_words(cause)}.{effect} {cause.next_step}"
        logger.error("%s failed unexpectedly", self.name, exc_info=cause)
        effect = " It is unclear whether anything was changed: look before repeating." if changes else ""
        return f"{self.name} failed inside extend-mcp; its log (stderr) has the details.{effect}"


def write_audit_line(
    app: CallerContext, tool: str, outcome: str, record: WriteRecord | None = None, written: WriteView | None = None
) -> None:
    """Write who called a tool, when, for which account and in which HTTP request, how it ended, and what was decided.

    A call that was denied has no record: nothing was sent.
    """
    facts = (record or WriteRecord()).facts()
    app.audit.write(
        {
            "at": format_instant(app.clock.now()),
            "who": app.caller.principal,
            "tool": tool,
            "outcome": outcome,
            "sent": written.request_sent if written else None if record else False,
            "account": app.account_id,
            "label": app.caller.account.label,
            "call_id": call_id.get(),
            **facts,
            "target": (written and written.target) or facts["target"],
        }
    )


def _answer(view: View, *, links: bool, label: str) -> CallToolResult:
    blocks = [
        ResourceLink(
            type="resource_link",
            uri=link.uri,
            name=link.uri,
            title=link.title,
            mime_type="text/plain",
            size=link.size,
            annotations=Annotations(audience=["assistant"], priority=0.3),
        )
        for link in (view.links if links else ())
    ]
    return CallToolResult(
        content=[TextContent(type="text", text=view.text), *blocks],
        structured_content=view.fields(),
        # For views in the host; a model does not read it.
        meta={ACCOUNT_KEY: label} if label else None,
    )


def _characters(answer: Any) -> int:
    """Return the length of an answer's text, to which its cost for a model is proportional."""
    if not isinstance(answer, CallToolResult):
        return 0
    return sum(len(block.text) for block in answer.content if isinstance(block, TextContent))


def _failed(text: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True)
