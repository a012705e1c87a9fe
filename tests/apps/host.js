// A host on the official library: connects to the server, calls tools, and shows a tool's view in a sandboxed frame.
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { AppBridge, PostMessageTransport } from "@modelcontextprotocol/ext-apps/app-bridge";

const APP_MIME_TYPE = "text/html;profile=mcp-app";
const { mcp, sandbox } = JSON.parse(document.getElementById("settings").textContent);

const seen = { asked: [], links: [], tools: [], messages: 0 };
window.seen = seen;
// What the person answers; `hold` keeps the question open until the driver lets it go.
window.person = { action: "accept", release: null };

const capabilities = {
  elicitation: { form: {} },
  extensions: { "io.modelcontextprotocol/ui": { mimeTypes: [APP_MIME_TYPE] } },
};

async function connect(asks) {
  const client = new Client(
    { name: "host", version: "1" },
    { capabilities: asks ? capabilities : { extensions: capabilities.extensions }, versionNegotiation: { mode: "auto" } },
  );
  if (asks) {
    client.setRequestHandler("elicitation/create", async ({ params }) => {
      seen.asked.push(params.message);
      if (window.person.hold) await new Promise((done) => { window.person.release = done; });
      return window.person.action === "accept" ? { action: "accept", content: { confirm: true } } : { action: "decline" };
    });
  }
  await client.connect(new StreamableHTTPClientTransport(new URL(mcp)));
  return client;
}

const clients = {};
const clientOf = (asks) => (clients[asks] ??= connect(asks));
window.callTool = async (name, args, asks = true) => (await clientOf(asks)).callTool({ name, arguments: args });
window.listTools = async () => (await (await clientOf(true)).listTools()).tools;

let current = null;

// Replace every text of an answer, but not what decides which parts of a view are shown.
function poisoned(value, text, name = "") {
  if (Array.isArray(value)) return value.map((item) => poisoned(item, text, name));
  if (value && typeof value === "object") {
    const inner = Object.fromEntries(Object.entries(value).map(([key, item]) => [key, poisoned(item, text, key)]));
    return ["by_workflow", "skipped"].includes(name) ? { [text]: 3 } : inner;
  }
  return typeof value === "string" && !/^(status|type|outcome|grouped_by|\w+_at|since)$/.test(name) ? text : value;
}

// Show `tool`'s answer in its view. `html` replaces the view, `poison` every text of the answers.
window.mount = async ({ tool, args = {}, answer, html, poison, theme = "light", width = 680, variables, asks = true, links = true }) => {
  await window.unmount();
  const client = await clientOf(asks);
  const described = (await client.listTools()).tools.find((each) => each.name === tool);
  const uri = described._meta.ui.resourceUri;
  const resource = html ? null : (await client.readResource({ uri })).contents[0];
  if (resource && resource.mimeType !== APP_MIME_TYPE) throw new Error(resource.mimeType);

  const frame = document.createElement("iframe");
  frame.title = "view";
  frame.style.cssText = `width:${width}px;height:120px;border:0;display:block`;
  // Laxer than any host: what a view does not run, load or open is its own doing.
  frame.setAttribute("sandbox", "allow-scripts allow-same-origin allow-modals allow-popups allow-forms");
  document.body.style.background = theme === "dark" ? "#181816" : "#eeece6";
  document.body.append(frame);

  const bridge = new AppBridge(client, { name: "host", version: "1" },
    { serverTools: {}, serverResources: {}, ...(links ? { openLinks: {} } : {}) },
    { hostContext: { toolInfo: { tool: described }, theme, displayMode: "inline", availableDisplayModes: ["inline"],
        ...(variables ? { styles: { variables } } : {}) } });
  current = { frame, bridge };
  bridge.onsizechange = ({ height }) => { if (height) frame.style.height = `${height}px`; };
  bridge.onopenlink = async ({ url }) => { seen.links.push(url); return {}; };
  const ready = new Promise((done) => { bridge.onsandboxready = done; });
  const initialized = new Promise((done) => { bridge.oninitialized = done; });
  const connected = bridge.connect(new PostMessageTransport(frame.contentWindow, frame.contentWindow));
  frame.src = sandbox;
  await connected;
  // Set after connect, which sets its own.
  bridge.oncalltool = async (params) => {
    seen.tools.push(params.name);
    const result = await client.callTool(params);
    return current?.poison ? { ...result, structuredContent: poisoned(result.structuredContent, current.poison) } : result;
  };
  await ready;
  // The driver attaches its counters here, before anything of the view exists.
  if (window.attached) await window.attached();
  await bridge.sendSandboxResourceReady({ html: html ?? resource.text });
  await initialized;
  await bridge.sendToolInput({ arguments: args });
  const show = async (text) => {
    const result = answer ?? await client.callTool({ name: tool, arguments: args });
    current.poison = text;
    await bridge.sendToolResult(text ? { ...result, structuredContent: poisoned(result.structuredContent, text) } : result);
    return result;
  };
  current.show = show;
  current.poison = poison;
  if (window.person.hold) {
    current.answer = show(poison);
    return null;
  }
  return show(poison);
};

// Send the answer again, every text in it replaced.
window.feed = async (text) => { await current.show(text); };
window.answered = () => current.answer;
window.retheme = (theme) => current.bridge.setHostContext({ theme });
window.unmount = async () => {
  if (!current) return;
  await current.bridge.teardownResource({}).catch(() => {});
  await current.bridge.close();
  current.frame.remove();
  current = null;
};
window.ready = true;
