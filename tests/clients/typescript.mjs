// Plays the story with the official TypeScript SDK, 1.x or 2.x, and prints a report as JSON.
//
//   node typescript.mjs (1|2) stdio COMMAND [ARGUMENT...]
//   node typescript.mjs (1|2) (http|sse) URL
import { readFileSync } from "node:fs";

const [major, transport, ...target] = process.argv.slice(2);
const answers = ["decline", "accept"];
const report = { asked: [], progress: 0, answers: {} };

const sdkOf = { 1: "@modelcontextprotocol/sdk", 2: "@modelcontextprotocol/client" }[major];
const packageOf = target.some((part) => part.endsWith("mcp-remote")) ? "mcp-remote" : sdkOf;
report.version = JSON.parse(
  readFileSync(new URL(`node_modules/${packageOf}/package.json`, import.meta.url)),
).version;

async function parts() {
  if (major === "2") {
    const { Client, StreamableHTTPClientTransport, SSEClientTransport } = await import("@modelcontextprotocol/client");
    const { StdioClientTransport } = await import("@modelcontextprotocol/client/stdio");
    return { Client, StreamableHTTPClientTransport, SSEClientTransport, StdioClientTransport, asking: "elicitation/create" };
  }
  const { Client } = await import("@modelcontextprotocol/sdk/client/index.js");
  const { StdioClientTransport } = await import("@modelcontextprotocol/sdk/client/stdio.js");
  const { StreamableHTTPClientTransport } = await import("@modelcontextprotocol/sdk/client/streamableHttp.js");
  const { SSEClientTransport } = await import("@modelcontextprotocol/sdk/client/sse.js");
  const { ElicitRequestSchema, LATEST_PROTOCOL_VERSION } = await import("@modelcontextprotocol/sdk/types.js");
  return { Client, StreamableHTTPClientTransport, SSEClientTransport, StdioClientTransport, asking: ElicitRequestSchema, newest: LATEST_PROTOCOL_VERSION };
}

function connection(sdk) {
  if (transport === "stdio") {
    const [command, ...args] = target;
    return new sdk.StdioClientTransport({ command, args, stderr: "inherit" });
  }
  const url = new URL(target[0]);
  return transport === "sse" ? new sdk.SSEClientTransport(url) : new sdk.StreamableHTTPClientTransport(url);
}

const sdk = await parts();
// The second SDK speaks the newer era only where it is asked to.
const newest = major === "2" && transport !== "sse";
const options = { capabilities: { elicitation: {} }, ...(major === "2" && transport !== "sse" ? { versionNegotiation: { mode: "auto" } } : {}) };
const client = new sdk.Client({ name: "story", version: "1" }, options);
client.setRequestHandler(sdk.asking, async (request) => {
  report.asked.push(request.params.message);
  const action = answers.shift();
  return action === "accept" ? { action, content: { confirm: true } } : { action };
});
await client.connect(connection(sdk));
// Over stdio the first SDK does not tell what was agreed on: it offers its newest, and the server speaks that.
report.protocol = client.getNegotiatedProtocolVersion?.() ?? client.transport?.protocolVersion ?? sdk.newest;

async function call(name, args) {
  const settings = { onprogress: () => { report.progress += 1; } };
  const request = { name, arguments: args };
  const result = major === "2" ? await client.callTool(request, settings) : await client.callTool(request, undefined, settings);
  if (result.isError) throw new Error(`${name}: ${JSON.stringify(result.content)}`);
  report.structured = result.structuredContent !== undefined;
  return result.structuredContent;
}

// Listing the tools also compiles their output schemas: every answer below is checked against them.
report.tools = (await client.listTools()).tools.map((tool) => tool.name);
report.prompts = (await client.listPrompts()).prompts.map((prompt) => prompt.name);
report.templates = (await client.listResourceTemplates()).resourceTemplates.length;

const running = (await call("list_runs", { status: "PROCESSING" })).runs;
const run = running[running.length - 1].run_id;
report.answers.list_runs = running.length;
report.answers.summarize_runs = (await call("summarize_runs", { created_since: "30d", group_by: "workflow" })).runs;
report.answers.get_workflow_run = (await call("get_workflow_run", { run_id: run })).status;
await call("wait_for_run", { run_ids: [run], seconds: 1 });

const uri = `extend://workflow-runs/${run}`;
report.resource = (await client.readResource({ uri })).contents[0].text.includes(run);
const prompt = await client.getPrompt({ name: "investigate_run", arguments: { run_id: run } });
report.prompt = JSON.stringify(prompt.messages).includes(run);

report.declined = (await call("cancel_workflow_run", { run_id: run })).outcome;
report.cancelled = (await call("cancel_workflow_run", { run_id: run, reason: "wrong document" })).outcome;
report.status = (await call("get_workflow_run", { run_id: run })).status;
report.run = run;
if (newest) {
  // The SDK checks each entry, and each file against its size and digest.
  const { SkillsClient } = await import("@modelcontextprotocol/client/ext/skills");
  const skills = new SkillsClient(client);
  report.skills = [];
  for (const skill of (await skills.list()).skills) {
    await skills.read(skill, skill.uri);
    report.skills.push(skill.frontmatter.name);
  }
}
await client.close();
console.log(JSON.stringify(report));
