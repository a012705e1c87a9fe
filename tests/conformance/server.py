"""Our application over HTTP with the tools, prompts and resources that the official conformance suite calls.

``python -m tests.conformance.server`` serves on a free port of this machine and prints the address to stdout.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Annotated, Any

import anyio
from mcp.server.context import ServerRequestContext
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.prompts.base import UserMessage
from mcp.shared.exceptions import MCPError
from mcp_types import (
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    AudioContent,
    ContentBlock,
    CreateMessageRequest,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    EmbeddedResource,
    EmptyResult,
    ImageContent,
    InputRequiredResult,
    ListRootsRequest,
    ListRootsResult,
    SamplingMessage,
    SubscribeRequestParams,
    TextContent,
    TextResourceContents,
    UnsubscribeRequestParams,
)
from pydantic import Field

from extend_mcp.http.app import HttpApp
from extend_mcp.http.serve import GracefulServer, listen
from extend_mcp.http.settings import HttpSettings
from extend_mcp.settings import Settings
from extend_mcp.telemetry.redaction import Redactor
from extend_mcp.tools.middleware import ToolFilterMiddleware

Ctx = Context[Any, Any]

# One red pixel, and a WAV file without a sample.
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
SILENCE = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA="
WATCHED = "test://watched-resource"

tools: list[Callable[..., Any]] = []
prompts: list[Callable[..., Any]] = []


def tool(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add a tool."""
    tools.append(function)
    return function


def prompt(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add a prompt."""
    prompts.append(function)
    return function


def text_resource(uri: str, text: str, mime_type: str = "text/plain") -> EmbeddedResource:
    """A resource inside of an answer."""
    contents = TextResourceContents(uri=uri, mime_type=mime_type, text=text)
    return EmbeddedResource(type="resource", resource=contents)


# Content


@tool
def test_simple_text() -> str:
    """Return a text."""
    return "This is a simple text response for testing."


@tool
def test_image_content() -> list[ContentBlock]:
    """Return an image."""
    return [ImageContent(type="image", data=PIXEL, mime_type="image/png")]


@tool
def test_audio_content() -> list[ContentBlock]:
    """Return a sound."""
    return [AudioContent(type="audio", data=SILENCE, mime_type="audio/wav")]


@tool
def test_embedded_resource() -> list[ContentBlock]:
    """Return a resource."""
    return [text_resource("test://embedded-resource", "This is an embedded resource content.")]


@tool
def test_multiple_content_types() -> list[ContentBlock]:
    """Return a text, an image and a resource."""
    return [
        TextContent(type="text", text="Multiple content types test:"),
        ImageContent(type="image", data=PIXEL, mime_type="image/png"),
        text_resource("test://mixed-content-resource", '{"test":"data","value":123}', "application/json"),
    ]


@tool
def test_error_handling() -> str:
    """Fail."""
    raise ToolError("This tool intentionally returns an error for testing")


@tool
async def test_tool_with_progress(ctx: Ctx) -> str:
    """Report progress."""
    for done in (0, 50, 100):
        await ctx.report_progress(done, 100)
        await anyio.sleep(0.05)
    return "done"


@tool
async def test_tool_with_logging(ctx: Ctx) -> str:
    """Log during the call."""
    for line in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await ctx.info(line)
        await anyio.sleep(0.05)
    return "done"


@tool
async def test_logging_tool(ctx: Ctx) -> str:
    """Log during the call, where the client asked for logs."""
    await ctx.info("a line")
    return "done"


@tool
async def test_reconnection(ctx: Ctx) -> str:
    """Close the stream of the call, and answer on the next one."""
    await ctx.close_sse_stream()
    await anyio.sleep(0.1)
    return "done"


@tool
def test_custom_header(region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})]) -> str:
    """Take an argument that a header repeats."""
    return region


@tool
def json_schema_2020_12_tool(name: str = "") -> str:
    """Take what its schema says."""
    return name


SCHEMA_2020_12: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


# Questions during a call, as before 2026-07-28


@tool
async def test_sampling(prompt: str, ctx: Ctx) -> str:
    """Ask the client's model."""
    message = SamplingMessage(role="user", content=TextContent(type="text", text=prompt))
    answer = await ctx.session.create_message([message], max_tokens=100)
    return f"LLM response: {getattr(answer.content, 'text', '')}"


async def elicited(ctx: Ctx, message: str, properties: dict[str, Any]) -> str:
    """Ask the client's user; return the answer as the suite wants to read it."""
    schema = {"type": "object", "properties": properties, "required": [*properties]}
    answer = await ctx.session.elicit_form(message, schema, ctx.request_id)
    return f"action={answer.action}, content={json.dumps(answer.content or {})}"


@tool
async def test_elicitation(message: str, ctx: Ctx) -> str:
    """Ask the client's user."""
    names = ("username", "email")
    return f"User response: {await elicited(ctx, message, {name: {'type': 'string'} for name in names})}"


@tool
async def test_elicitation_sep1034_defaults(ctx: Ctx) -> str:
    """Ask with a default for each primitive type."""
    properties = {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "default": True},
    }
    return f"Elicitation completed: {await elicited(ctx, 'Who?', properties)}"


@tool
async def test_elicitation_sep1330_enums(ctx: Ctx) -> str:
    """Ask with each kind of enum."""
    titled = [{"const": f"value{n}", "title": f"Choice {n}"} for n in (1, 2, 3)]
    options = ["option1", "option2", "option3"]
    properties = {
        "untitledSingle": {"type": "string", "enum": options},
        "titledSingle": {"type": "string", "oneOf": titled},
        "legacyEnum": {"type": "string", "enum": ["opt1", "opt2", "opt3"], "enumNames": ["One", "Two", "Three"]},
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": options}},
        "titledMulti": {"type": "array", "items": {"anyOf": titled}},
    }
    return f"Elicitation completed: {await elicited(ctx, 'Which?', properties)}"


# Questions between two rounds, as of 2026-07-28


def form(message: str, name: str, kind: str = "string") -> ElicitRequest:
    """A form with one field."""
    schema = {"type": "object", "properties": {name: {"type": kind}}, "required": [name]}
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def sampling(text: str, most: int) -> CreateMessageRequest:
    """A question to the client's model."""
    message = SamplingMessage(role="user", content=TextContent(type="text", text=text))
    return CreateMessageRequest(params=CreateMessageRequestParams(messages=[message], max_tokens=most))


def ask(state: str | None = None, **requests: Any) -> InputRequiredResult:
    """The end of a round that asks."""
    return InputRequiredResult(input_requests=requests, request_state=state)


def said(ctx: Ctx, key: str, name: str) -> Any:
    """Return what the user filled in; None where the answer is missing or has no such field."""
    answer = (ctx.input_responses or {}).get(key)
    return (answer.content or {}).get(name) if isinstance(answer, ElicitResult) else None


@tool
async def test_input_required_result_elicitation(ctx: Ctx) -> str | InputRequiredResult:
    """Ask for a name."""
    name = said(ctx, "user_name", "name")
    return f"Hello, {name}!" if isinstance(name, str) else ask(user_name=form("What is your name?", "name"))


@tool
async def test_input_required_result_sampling(ctx: Ctx) -> str | InputRequiredResult:
    """Ask the client's model."""
    answer = (ctx.input_responses or {}).get("capital_question")
    if isinstance(answer, CreateMessageResult):
        return str(getattr(answer.content, "text", ""))
    return ask(capital_question=sampling("What is the capital of France?", 100))


@tool
async def test_input_required_result_list_roots(ctx: Ctx) -> str | InputRequiredResult:
    """Ask for the client's roots."""
    answer = (ctx.input_responses or {}).get("client_roots")
    if isinstance(answer, ListRootsResult):
        return ", ".join(str(root.uri) for root in answer.roots)
    return ask(client_roots=ListRootsRequest())


@tool
async def test_input_required_result_request_state(ctx: Ctx) -> str | InputRequiredResult:
    """Carry a state between two rounds."""
    if ctx.request_state == "first" and said(ctx, "confirm", "ok") is not None:
        return "state-ok"
    return ask("first", confirm=form("Please confirm", "ok", "boolean"))


@tool
async def test_input_required_result_tampered_state(ctx: Ctx) -> str | InputRequiredResult:
    """Carry a state that nobody may change."""
    if ctx.request_state == "first":
        return "state-ok"
    return ask("first", confirm=form("Please confirm", "ok", "boolean"))


@tool
async def test_input_required_result_multiple_inputs(ctx: Ctx) -> str | InputRequiredResult:
    """Ask three things at once."""
    answers = ctx.input_responses or {}
    if {"user_name", "greeting", "client_roots"} <= set(answers):
        return f"{said(ctx, 'user_name', 'name')}: complete"
    return ask(
        "asked",
        user_name=form("What is your name?", "name"),
        greeting=sampling("Generate a greeting", 50),
        client_roots=ListRootsRequest(),
    )


@tool
async def test_input_required_result_multi_round(ctx: Ctx) -> str | InputRequiredResult:
    """Ask twice, one after the other."""
    if ctx.request_state == "two" and said(ctx, "step2", "color"):
        return f"{said(ctx, 'step2', 'color')}: complete"
    if ctx.request_state == "one" and said(ctx, "step1", "name"):
        return ask("two", step2=form("Step 2: What is your favorite color?", "color"))
    return ask("one", step1=form("Step 1: What is your name?", "name"))


@tool
async def test_input_required_result_capabilities(ctx: Ctx) -> str | InputRequiredResult:
    """Ask only what the client can answer."""
    capabilities = ctx.client_capabilities
    if ctx.input_responses or capabilities is None:
        return "complete"
    can_ask: dict[str, Any] = {
        "question": sampling("Say something", 50) if capabilities.sampling else None,
        "name": form("What is your name?", "name") if capabilities.elicitation else None,
    }
    return ask(**{key: request for key, request in can_ask.items() if request})


@tool
async def test_streaming_elicitation(ctx: Ctx) -> str | InputRequiredResult:
    """Ask, with progress before it."""
    await ctx.report_progress(1, 2)
    return "done" if ctx.input_responses else ask(name=form("What is your name?", "name"))


@tool
def test_missing_capability(ctx: Ctx) -> str:
    """Want what the client cannot do."""
    if ctx.client_capabilities is None or ctx.client_capabilities.sampling is None:
        data = {"requiredCapabilities": {"sampling": {}}}
        raise MCPError(MISSING_REQUIRED_CLIENT_CAPABILITY, "The client cannot sample.", data)
    return "done"


@tool
async def test_trigger_tool_change(ctx: Ctx) -> str:
    """Notify subscribers that the list of tools changed."""
    await ctx.notify_tools_changed()
    return "done"


@tool
async def test_trigger_prompt_change(ctx: Ctx) -> str:
    """Notify subscribers that the list of prompts changed."""
    await ctx.notify_prompts_changed()
    return "done"


# Prompts


@prompt
def test_simple_prompt() -> list[UserMessage]:
    """Say something."""
    return [UserMessage("This is a simple prompt for testing.")]


@prompt
def test_prompt_with_arguments(arg1: str, arg2: str) -> list[UserMessage]:
    """Say what was given."""
    return [UserMessage(f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'")]


@prompt
def test_prompt_with_embedded_resource(resourceUri: str) -> list[UserMessage]:  # noqa: N803 - the suite's name
    """Attach a resource."""
    attached = text_resource(resourceUri, "Embedded resource content for testing.")
    return [UserMessage(attached), UserMessage("Please process the embedded resource above.")]


@prompt
def test_prompt_with_image() -> list[UserMessage]:
    """Attach an image."""
    image = ImageContent(type="image", data=PIXEL, mime_type="image/png")
    return [UserMessage(image), UserMessage("Please analyze the image above.")]


@prompt
def test_input_required_result_prompt(ctx: Ctx) -> list[UserMessage] | InputRequiredResult:
    """Ask before the prompt is made."""
    context = said(ctx, "user_context", "context")
    if context is None:
        return ask(user_context=form("What context should the prompt use?", "context"))
    return [UserMessage(f"Context: {context}")]


def add_fixtures(server: MCPServer[Any]) -> None:
    """Add the suite's tools, prompts and resources to ours."""
    for each in tools:
        server.add_tool(each, structured_output=False)
    schema_tool = server._tool_manager.get_tool("json_schema_2020_12_tool")
    assert schema_tool
    schema_tool.parameters = SCHEMA_2020_12
    for narrowed in server._lowlevel_server.middleware:
        if isinstance(narrowed, ToolFilterMiddleware):
            narrowed._tools.update(each.__name__ for each in tools)
            narrowed._prompts.update(each.__name__ for each in prompts)
    for each in prompts:
        server.prompt()(each)

    @server.resource("test://static-text", mime_type="text/plain")
    def static_text() -> str:
        """A text."""
        return "This is the content of the static text resource."

    @server.resource("test://static-binary", mime_type="image/png")
    def static_binary() -> bytes:
        """An image."""
        return base64.b64decode(PIXEL)

    @server.resource("test://template/{id}/data", mime_type="application/json")
    def template(id: str) -> str:  # noqa: A002 - the suite's name
        """Return what the address says."""
        return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})

    @server.resource(WATCHED, mime_type="text/plain")
    def watched() -> str:
        """Something that could change."""
        return "Watched resource content"


def watch_fixtures(server: Any) -> None:
    """Take subscriptions to the suite's resource, and leave the others to ours."""

    def taking(ours: Any) -> Any:
        async def handle(ctx: ServerRequestContext[Any, Any], params: Any) -> Any:
            return EmptyResult() if str(params.uri) == WATCHED else await ours(ctx, params)

        return handle

    for method, params in (
        ("resources/subscribe", SubscribeRequestParams),
        ("resources/unsubscribe", UnsubscribeRequestParams),
    ):
        server.add_request_handler(method, params, taking(server.get_request_handler(method).handler))


async def main() -> None:
    """Serve until the process is ended."""
    http = HttpSettings.model_validate({"port": 0})
    app = HttpApp(Settings.model_validate({"sandbox": True}), http, Redactor(), sse=False)
    add_fixtures(app.server)
    watch_fixtures(app.server.session_manager.app)
    with listen("127.0.0.1", 0) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
        server = GracefulServer(app, lambda: print(address, flush=True))
        await server.serve(sockets=[listener])


if __name__ == "__main__":
    anyio.run(main)
