"""Build tools that differ from the SDK's: unknown arguments are refused, wrong ones explained in a few lines,
answers are views, and every error says what happened, whether anything changed, and what to do next.
"""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from typing import Annotated, Any, TypeVar, get_args, get_origin

import mcp_types as types
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.tools import Tool
from mcp.server.subscriptions import ResourceUpdated
from mcp.shared.exceptions import MCPError
from pydantic import ConfigDict, ValidationError, create_model

from extend_mcp.api.errors import ExtendError
from extend_mcp.apps import VIEWS
from extend_mcp.audit import WriteRecord, begin_write_record, write_record
from extend_mcp.callers import CallerContext
from extend_mcp.mcp_compat import ArgModelBase, FuncMetadata
from extend_mcp.refusal import CallRefusedError
from extend_mcp.runs.times import format_instant
from extend_mcp.scopes import OF_TOOLSETS
from extend_mcp.telemetry.spans import request_id
from extend_mcp.tools.explain import explain_arguments
from extend_mcp.tools.schema import schema_of
from extend_mcp.views.actions import WriteView
from extend_mcp.views.document import Link, View, error_words
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
        self, *, title: str, annotations: types.ToolAnnotations, scope: str | None = None, view: str | None = None
    ) -> Callable[[FunctionT], FunctionT]:
        """Add a function as a tool; its docstring is the description that every conversation pays for.

        A caller needs ``scope``, by default the toolset's scope for reading or writing. Hosts that show interactive
        views show the answers in ``view``.
        """

        def register(function: FunctionT) -> FunctionT:
            # The SDK's own from_function would make the models and schemas once, for us to make them again.
            signature = inspect.signature(function, eval_str=True)
            fields: dict[str, Any] = {
                name: (parameter.annotation, ... if parameter.default is parameter.empty else parameter.default)
                for name, parameter in signature.parameters.items()
                if name != "ctx"
            }
            assert not any(hasattr(ArgModelBase, name) for name in fields), "an argument shadows one of the model"
            arguments = create_model(f"{function.__name__}Arguments", __base__=_Arguments, **fields)
            returned = signature.return_annotation
            shown = next(each for each in get_args(returned) or (returned,) if each is not types.InputRequiredResult)
            schema = schema_of(shown)
            # These are sent even when null, so the schema must allow it.
            nullable = {name: {"type": [schema["properties"][name]["type"], "null"]} for name in shown.always}
            schema = {**schema, "properties": {**schema["properties"], **nullable}}
            reads = annotations.read_only_hint
            tool = ExtendTool(
                fn=function,
                name=function.__name__,
                title=title,
                description=" ".join((function.__doc__ or "").split()),
                parameters=schema_of(arguments),
                fn_metadata=FuncMetadata(arg_model=arguments, output_schema=schema, output_model=shown),
                is_async=True,
                context_kwarg="ctx",
                annotations=annotations,
                meta={"ui": {"resourceUri": f"{VIEWS}{view}"}} if view else None,
                scope=scope or next(each for each in OF_TOOLSETS[self.name] if each.endswith(":read") == reads),
            )
            self._added.append(tool)
            return function

        return register


class _Arguments(ArgModelBase):
    """Base of the models of arguments: an unknown one is refused. The first call of a tool builds its validator."""

    model_config = ConfigDict(extra="forbid", defer_build=True)


def _wants_object(annotation: Any) -> bool:
    parts = [get_args(part)[0] if get_origin(part) is Annotated else part for part in get_args(annotation)]
    kinds = {get_origin(part) or part for part in (annotation, *parts)}
    return bool(kinds & {dict, list}) and str not in kinds


class ExtendTool(Tool):
    """A tool whose function returns a :class:`View` (or asks the client for input)."""

    annotations: types.ToolAnnotations
    scope: str  # what a caller needs to see and use it

    async def run(self, arguments: dict[str, Any], context: Context[Any, Any], convert_result: bool = False) -> Any:
        """Run the tool. Expected failures become an answer marked as an error.

        Arguments are validated once, here. The SDK's own `run` would validate them again.
        """
        app: CallerContext = context.request_context.lifespan_context.current()
        begun, record = app.clock.monotonic(), begin_write_record()
        app.metrics.count("calls_in_flight")
        # The outcome of a call that its client cancels: Extend may have received what was sent by then.
        outcome, result = "interrupted", None
        try:
            outcome, result = await self._run(arguments, context)
            answer = self._answer(app, context, result)
        except MCPError:
            outcome = "MCPError"
            raise
        finally:
            if record.verdict not in (None, "allowed"):
                app.metrics.count("guard_refusals_total", tool=self.name, verdict=record.verdict)
            if not self.annotations.read_only_hint and outcome != "wrong_arguments":
                write_audit_line(app, self.name, outcome, record, result)
            app.metrics.count("calls_in_flight", -1)
            app.metrics.count("tool_calls_total", tool=self.name, outcome=outcome)
            app.metrics.observe("tool_call_seconds", app.clock.monotonic() - begun, tool=self.name)
        if isinstance(result, WriteView) and result.changed_run:
            await app.bus.publish(ResourceUpdated(run_uri(result.changed_run)))
        return answer

    def validated(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments for the function, or raise a ValidationError.

        Nulls of optional ones, which strict modes send, and what hosts add to every call are dropped. An object or a
        list is read from its JSON, but no text: a file's may well be JSON.
        """
        fields, kept = self.fn_metadata.arg_model.model_fields, {}
        for name, value in arguments.items():
            known = fields.get(name)
            if name in HOST_ARGUMENTS if known is None else value is None and not known.is_required():
                continue
            kept[name] = value
            if known and isinstance(value, str) and _wants_object(known.annotation):
                with suppress(ValueError, RecursionError):
                    document = json.loads(value)
                    kept[name] = document if isinstance(document, (dict, list)) else value
        return vars(self.fn_metadata.arg_model.model_validate(kept))

    async def _run(
        self, arguments: dict[str, Any], context: Context[Any, Any]
    ) -> tuple[str, View | types.InputRequiredResult | str]:
        """Run the tool; return the outcome in a word, and its result: a text where it failed."""
        try:
            validated = self.validated(arguments)
        except ValidationError as error:
            return "wrong_arguments", explain_arguments(self.name, self.fn_metadata, error)
        try:
            result: View | types.InputRequiredResult = await self.fn(**validated, ctx=context)
        except MCPError:
            raise
        except Exception as error:
            if isinstance(error, ExtendError) and error.request_id:
                write_record().request_ids.append(error.request_id)
            return "refused" if isinstance(error, CallRefusedError) else type(error).__name__, self._failure(error)
        asked = isinstance(result, types.InputRequiredResult)
        return "asked" if asked else str(vars(result).get("outcome", "done")), result

    def _answer(
        self, app: CallerContext, context: Context[Any, Any], result: View | types.InputRequiredResult | str
    ) -> types.CallToolResult | types.InputRequiredResult:
        if isinstance(result, types.InputRequiredResult):
            return result
        label = app.caller.account.label
        if isinstance(result, WriteView) and label:
            result.account = label
            result.with_text(f"[{label}] {result.text}")
        text = result if isinstance(result, str) else result.text
        # A model's cost for an answer is proportional to it.
        app.metrics.count("answer_characters_total", len(text), tool=self.name)
        if isinstance(result, str):
            return types.CallToolResult(content=[types.TextContent(type="text", text=text)], is_error=True)
        # ``resource_link`` came with 2025-06-18.
        version = context.protocol_version or types.LATEST_PROTOCOL_VERSION
        links = [_resource_link(link) for link in result.links] if version >= "2025-06-18" else []
        return types.CallToolResult(
            content=[types.TextContent(type="text", text=text), *links],
            structured_content=result.fields(),
            # For views in the host; a model does not read it.
            meta={ACCOUNT_KEY: label} if label else None,
        )

    def _failure(self, cause: Exception) -> str:
        changes = not self.annotations.read_only_hint
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
    app: CallerContext, tool: str, outcome: str, record: WriteRecord | None = None, result: object = None
) -> None:
    """Write who called a tool, when, for which account and in which HTTP request, how it ended, and what was decided.

    A call that was denied has no record: nothing was sent.
    """
    facts, written = (record or WriteRecord()).facts(), result if isinstance(result, WriteView) else None
    app.audit.write(
        {
            "at": format_instant(app.clock.now()),
            "who": app.caller.principal,
            "tool": tool,
            "outcome": outcome,
            "sent": written.request_sent if written else None if record else False,
            "account": app.account_id,
            "label": app.caller.account.label,
            "call_id": request_id.get(),
            **facts,
            "target": (written and written.target) or facts["target"],
        }
    )


def _resource_link(link: Link) -> types.ResourceLink:
    about = types.Annotations(audience=["assistant"], priority=0.3)
    return types.ResourceLink(
        uri=link.uri, name=link.uri, title=link.title, mime_type="text/plain", size=link.size, annotations=about
    )
