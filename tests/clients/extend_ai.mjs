// Calls the sandbox with Extend's own client for TypeScript and prints what it saw as JSON.
//
//   node extend_ai.mjs BASE_URL
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

import { ExtendClient } from "extend-ai";

const [baseUrl] = process.argv.slice(2);
const client = new ExtendClient({ token: "sk_contract", baseUrl, maxRetries: 0 });
const version = JSON.parse(readFileSync(new URL("node_modules/extend-ai/package.json", import.meta.url))).version;
const report = { version };

const control = async (path, body) =>
  (await fetch(`${baseUrl}/_sandbox${path}`, body && { method: "POST", body: JSON.stringify(body) })).json();

async function refused(call) {
  try {
    return { taken: await call() };
  } catch (error) {
    return { error: error.constructor.name, message: error.body?.message ?? error.message };
  }
}

const start = [
  { name: "Start", type: "TRIGGER", next: [{ step: "Parse" }] },
  { name: "Parse", type: "PARSE", next: [{ step: "Next" }] },
];
const block = { blockType: "semantic", name: "n", semantic: { promptText: "Is it?" } };
const withStep = (type, config) => [...start, { name: "Next", type, ...(config && { config }) }];

// A draft update keeps what it leaves out.
const checks = await client.workflows.create({ name: "Checks", steps: withStep("VALIDATION", { blocks: [block] }) });
report.validation = (await client.workflows.update(checks.id, { steps: withStep("VALIDATION") })).draftVersion.steps[2].config;
const branches = [{ id: "a", name: "A", block }];
const routes = await client.workflows.create({ name: "Routes", steps: withStep("ROUTER", { branches }) });
const changed = await client.workflows.update(routes.id, { steps: withStep("ROUTER", { branches: [{ id: "a" }, { id: "b" }] }) });
report.branches = changed.draftVersion.steps[2].config.branches;
report.block = block;

// An inline classifier or splitter needs "other"; code blocks have two languages.
const kinds = [{ id: "bill", type: "bill", description: "A bill" }];
for (const [type, config] of [
  ["CLASSIFY", { classifierConfig: { classifications: kinds } }],
  ["SPLIT", { splitterConfig: { splitClassifications: kinds } }],
]) {
  const made = await client.workflows.create({ name: type, steps: withStep(type, config) });
  report[type] = await refused(() => client.workflowVersions.create(made.id, {}));
}
report.languages = {};
for (const language of ["javascript", "python", "ruby"]) {
  const code = { blockType: "code", name: "n", code: { language, code: "return true;" } };
  const made = await refused(() => client.workflows.create({ name: language, steps: withStep("VALIDATION", { blocks: [code] }) }));
  report.languages[language] = made.error ?? made.taken.draftVersion.steps[2].config.blocks[0].code.language;
}

// Versions, page sizes, order, priority.
const workflow = (await client.workflows.list({ sortBy: "createdAt", sortDir: "desc", maxPageSize: 1000 })).data.find(
  (each) => each.name === "Invoice Processing",
);
const versions = (await client.workflowVersions.list(workflow.id)).data;
const newest = versions.filter((each) => each.version !== "draft").sort((a, b) => b.version - a.version)[0];
report.newest = [newest.version, newest.id];
report.versions = {};
for (const name of ["draft", "latest", newest.version, newest.id]) {
  const found = await client.workflowVersions.retrieve(workflow.id, name);
  report.versions[name] = [found.version, found.id];
}
const page = await client.workflowRuns.list();
report.page = page.data.length;
report.updated = page.data.map((each) => each.updatedAt);
report.all = (await client.workflowRuns.list({ maxPageSize: 1000 })).data.length;
report.no_page = await refused(() => client.workflowRuns.list({ maxPageSize: 0 }));
report.next = (await client.workflowRuns.list({ nextPageToken: page.nextPageToken })).data[0].id !== page.data[0].id;
report.priorities = {};
for (const priority of [0, 1, 100, 101]) {
  const started = await refused(() => client.workflowRuns.create({ workflow: { id: workflow.id }, file: { text: "a" }, priority }));
  report.priorities[priority] = started.error ?? started.taken.object;
}

// A run to its end, its children, a cancel, a batch.
const file = await client.files.upload(new File(["Delivery note 12.50"], "bill.txt", { type: "text/plain" }), {});
const run = await client.workflowRuns.create({ workflow: { id: workflow.id }, file: { id: file.id }, metadata: { a: 1 } });
await control("/clock", { advanceSeconds: 300 });
const done = await client.workflowRuns.retrieve(run.id);
report.run = { status: done.status, steps: done.stepRuns.length, credits: done.usage.credits };
report.metadata = (await client.workflowRuns.update(run.id, { metadata: { b: 2 } })).metadata;
report.children = {};
for (const [name, key] of [["parseRuns", "parseRun"], ["extractRuns", "extractRun"], ["classifyRuns", "classifyRun"]]) {
  const listed = await client[name].list({ source: "WORKFLOW_RUN", sourceId: run.id });
  const inside = done.stepRuns.map((step) => step.result?.[key]?.id).filter(Boolean);
  const read = await Promise.all(listed.data.map((each) => client[name].retrieve(each.id)));
  report.children[name] = { inside, listed: listed.data.map((each) => each.id), read: read.map((each) => each.id) };
}
report.terminal = await refused(() => client.workflowRuns.cancel(run.id));
const other = await client.workflowRuns.create({ workflow: { id: workflow.id }, file: { url: "https://files.example/a.pdf" } });
report.cancel = (await client.workflowRuns.cancel(other.id)).status;
report.deleted = (await client.workflowRuns.delete(other.id)).id === other.id;
report.gone = await refused(() => client.workflowRuns.retrieve(other.id));
const batch = await client.workflowRuns.createBatch({ workflow: { id: workflow.id }, inputs: [{ file: { text: "a" } }, { file: { text: "b" } }] });
report.batch = (await client.workflowRuns.list({ batchId: batch.batchId })).data.length;
const contents = (await client.files.retrieve(file.id, { rawText: true })).contents;
report.text = contents.rawText;

// What a split made, and why runs failed.
const all = (await client.workflowRuns.list({ maxPageSize: 1000 })).data;
const split = all.find((each) => each.workflow.name === "Loan Packet Review" && each.status === "PROCESSED");
const parts = (await client.splitRuns.list({ source: "WORKFLOW_RUN", sourceId: split.id })).data;
report.split = { listed: parts.length, read: (await client.splitRuns.retrieve(parts[0].id)).id === parts[0].id };
report.reasons = [];
for (const each of all.filter((run) => run.status === "FAILED")) {
  const failed = await client.workflowRuns.retrieve(each.id);
  const inside = failed.stepRuns.flatMap((step) => Object.values(step.result ?? {}).map((child) => child?.failureReason));
  report.reasons.push(failed.failureReason, ...inside);
}
report.reasons = [...new Set(report.reasons.filter(Boolean))];
report.prefix = await refused(() => client.workflowRuns.retrieve("vr_1234567890"));

// Webhooks: one subscription an endpoint and resource, any supported version, a signed delivery with its version.
const got = [];
const receiver = createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    got.push([Buffer.concat(parts).toString(), request.headers]);
    response.end();
  });
});
await new Promise((ready) => receiver.listen(0, "127.0.0.1", ready));
const hook = { url: `http://127.0.0.1:${receiver.address().port}/`, name: "Ops", enabledEvents: [] };
const endpoint = await client.webhookEndpoints.create({ ...hook, apiVersion: "2026-02-09" });
report.older = (await client.webhookEndpoints.create({ ...hook, apiVersion: "2025-04-21" })).apiVersion;
const subscribe = (enabledEvents) =>
  client.webhookSubscriptions.create({
    webhookEndpointId: endpoint.id,
    resourceType: "workflow",
    resourceId: workflow.id,
    enabledEvents,
  });
const first = await subscribe(["workflow_run.failed"]);
const second = await subscribe(["workflow_run.completed"]);
report.subscription = { same: first.id === second.id, id: second.id, events: second.enabledEvents };
const newRun = await client.workflowRuns.create({ workflow: { id: workflow.id }, file: { text: "a" } });
await control("/clock", { advanceSeconds: 300 });
await control("/deliveries", {});
const mine = got.find(([body]) => body.includes(newRun.id));
const event = client.webhooks.verifyAndParse(mine[0], mine[1], endpoint.signingSecret);
report.event = { type: event.eventType, run: event.payload.id === newRun.id, version: mine[1]["x-extend-api-version"] };
report.forged = await refused(() => client.webhooks.verifyAndParse(`${mine[0]} `, mine[1], endpoint.signingSecret));
receiver.close();

// Every run of the account, as the client reads it.
report.read = 0;
for (const line of (await control("/state")).runs.slice(0, 60)) {
  const each = await client.workflowRuns.retrieve(line.id);
  if (each.stepRuns.every((step) => step.step.name && step.stepType)) report.read += 1;
}

console.log(JSON.stringify(report));
process.exit(0);
