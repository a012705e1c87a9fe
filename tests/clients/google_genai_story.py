"""Run the session with google-genai: ``python google_genai_story.py (URL | COMMAND [ARGUMENT...])``.

It calls the tools itself. The scripted model answers on a socket, in the place of Gemini's.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from google import genai
from google.genai import types
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import ElicitResult
from story import Report, script, summarize

report = Report("google-genai")
seen: list[str] = []


class Model(BaseHTTPRequestHandler):
    """The scripted model."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        functions = [each for tool in asked["tools"] for each in tool["functionDeclarations"]]
        report.facts["tools"] = [each["name"] for each in functions]
        parts = [part for content in asked["contents"] for part in content["parts"]]
        seen[:] = [text_of(part["functionResponse"]["response"]) for part in parts if "functionResponse" in part]
        call = script(seen)
        part = {"functionCall": {"name": call[0], "args": call[1]}} if call else {"text": "done"}
        answer = {"candidates": [{"content": {"role": "model", "parts": [part]}, "finishReason": "STOP"}]}
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def text_of(response: Any) -> str:
    """The text of an answer."""
    result = response.get("result", response)
    return "\n".join(block.get("text", "") for block in result["content"])


async def person(_: Any, params: Any) -> ElicitResult:
    """Answers the server's questions."""
    action = report.reply(params.message)
    return ElicitResult(action=action, content={"confirm": True} if action == "accept" else None)


async def main() -> None:
    """Play it."""
    command, *arguments = sys.argv[1:]
    target: Any = streamable_http_client(command)
    if arguments:
        target = stdio_client(StdioServerParameters(command=command, args=arguments))
    with ThreadingHTTPServer(("127.0.0.1", 0), Model) as gemini:
        threading.Thread(target=gemini.serve_forever, daemon=True).start()
        options = types.HttpOptions(base_url=f"http://127.0.0.1:{gemini.server_port}")
        async with (
            target as (read, write, *_),
            ClientSession(read, write, elicitation_callback=person) as session,
        ):
            report.facts["protocol"] = (await session.initialize()).protocol_version
            model = genai.Client(api_key="x", http_options=options).aio.models
            calling = types.AutomaticFunctionCallingConfig(maximum_remote_calls=20)
            # A dict, since it makes a deep copy of a config, and a session cannot be copied.
            config: Any = {"tools": [session], "automatic_function_calling": calling}
            answer = await model.generate_content(model="scripted", contents="Cancel it.", config=config)
        gemini.shutdown()
    assert answer.text == "done"
    summarize(report, seen)
    report.end()


asyncio.run(main())
