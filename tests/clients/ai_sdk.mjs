// Plays the story with the AI SDK and its MCP client, with a scripted model, and prints a report as JSON.
//
//   node ai_sdk.mjs stdio COMMAND [ARGUMENT...]
//   node ai_sdk.mjs http URL
import { readFileSync } from "node:fs";

import { createMCPClient, ElicitationRequestSchema } from "@ai-sdk/mcp";
import { StdioMCPTransport } from "@ai-sdk/mcp/mcp-stdio";
import { generateText, isStepCount } from "ai";
import { MockLanguageModelV4 } from "ai/test";

const [transport, ...target] = process.argv.slice(2);
const version = JSON.parse(readFileSync(new URL("node_modules/@ai-sdk/mcp/package.json", import.meta.url))).version;
const report = { version, asked: [], progress: 0, answers: {} };
const answers = ["decline", "accept"];

const [command, ...args] = target;
const client = await createMCPClient({
  transport: transport === "stdio" ? new StdioMCPTransport({ command, args }) : { type: "http", url: target[0] },
  capabilities: { elicitation: {} },
});
client.onElicitationRequest(ElicitationRequestSchema, ({ params }) => {
  report.asked.push(params.message);
  const action = answers.shift();
  return action === "accept" ? { action, content: { confirm: true } } : { action };
});
// Over stdio it gives up on the newer protocol where the server takes more than a second to start.
const agreed = client.initializeResult.protocolVersion;
report.protocol = transport === "stdio" ? "2026-07-28 or 2025-11-25" : agreed;
if (!report.protocol.includes(agreed)) throw new Error(agreed);

const seen = [];
const runOf = (text) => text.match(/workflow_run_[A-Za-z0-9_-]{21}/g).pop();
const textOf = (output) => (output.type === "content" ? output.value.map((part) => part.text ?? "").join("\n") : JSON.stringify(output.value));

function next() {
  const run = seen.length > 0 && runOf(seen[0]);
  const token = seen.length > 3 && seen[3].match(/confirmation_token\\?"?: ?\\?"?(v1\.[A-Za-z0-9_-]+)/);
  const cancel = { run_id: run, reason: "wrong document" };
  return [
    ["list_runs", { status: "PROCESSING" }],
    ["summarize_runs", { created_since: "30d", group_by: "workflow" }],
    ["get_workflow_run", { run_id: run }],
    ["cancel_workflow_run", cancel],
    ["cancel_workflow_run", token ? { ...cancel, confirmation_token: token[1] } : cancel],
    ["get_workflow_run", { run_id: run }],
  ][seen.length];
}

const usage = { inputTokens: { total: 1 }, outputTokens: { total: 1 } };
const model = new MockLanguageModelV4({
  doGenerate: async ({ prompt }) => {
    const results = prompt.filter((message) => message.role === "tool").flatMap((message) => message.content);
    seen.splice(0, seen.length, ...results.map((part) => textOf(part.output)));
    const call = next();
    const content = call
      ? { type: "tool-call", toolCallId: `call-${seen.length}`, toolName: call[0], input: JSON.stringify(call[1]) }
      : { type: "text", text: "done" };
    const finishReason = { unified: call ? "tool-calls" : "stop" };
    return { content: [content], finishReason, usage, warnings: [] };
  },
});

const tools = await client.tools();
report.tools = Object.keys(tools);
await generateText({ model, tools, prompt: "Cancel the run with the wrong document.", stopWhen: isStepCount(20) });
const statusOf = (text) => text.match(/· ([A-Z_]+):/)?.[1] ?? text;
const outcomeOf = (text) => text.split(":")[0];
report.run = runOf(seen[0]);
report.answers = {
  list_runs: seen[0].match(/workflow_run_/g).length,
  summarize_runs: Number(seen[1].match(/\d+/)[0]),
  get_workflow_run: statusOf(seen[2]),
};
report.declined = outcomeOf(seen[3]);
report.cancelled = outcomeOf(seen[4]);
report.status = statusOf(seen[5]);
report.reads = "text";
report.resources = (await client.listResourceTemplates()).resourceTemplates.length;
report.prompts = (await client.listPrompts()).prompts.length;
await client.close();
console.log(JSON.stringify(report));
