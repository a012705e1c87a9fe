'use strict';
// Shared by all views. Every message to and from the host is JSON-RPC by postMessage; every text becomes a text node.

// --- The host ---

const page = document.documentElement.dataset;
const host = { can: {}, context: {}, on: {}, closed: false };
const waiting = new Map();
let lastId = 0;

const post = (message) => parent.postMessage({ jsonrpc: '2.0', ...message }, '*');

// Reject after so many seconds; 0 waits without end, as for a person's answer.
host.request = (method, params = {}, seconds = 55) => new Promise((resolve, reject) => {
  const id = ++lastId;
  const timer = seconds && setTimeout(() => {
    waiting.delete(id);
    reject(new Error('The host did not answer in time.'));
  }, seconds * 1000);
  waiting.set(id, { resolve, reject, timer });
  post({ id, method, params });
});

// Call a tool and return its facts; a tool's error becomes an exception with its text.
host.call = async (name, args, seconds) => {
  if (!host.can.serverTools) throw new Error('This host does not let views call tools. Ask in the chat instead.');
  const result = await host.request('tools/call', { name, arguments: args }, seconds);
  if (result.isError || !result.structuredContent) {
    throw new Error(result.content?.find((block) => block.type === 'text')?.text || `${name} gave no answer.`);
  }
  return result.structuredContent;
};

const DASHBOARD = /^https:\/\/(?:[a-z0-9-]+\.)*extend\.(?:ai|app)(?:\/|$)/;

host.offers = (tool) => !!host.can.serverTools && page.tools.split(' ').includes(tool);

addEventListener('message', ({ source, data }) => {
  // Opened as a page of its own, parent is this window: it would take its own requests for answers.
  if (source !== parent || parent === window || data?.jsonrpc !== '2.0') return;
  if (data.method === undefined) {
    const asked = waiting.get(data.id);
    if (!asked) return;
    waiting.delete(data.id);
    clearTimeout(asked.timer);
    if (data.error) asked.reject(new Error(data.error.message || 'The host refused.'));
    else asked.resolve(data.result || {});
  } else if (data.id !== undefined) {
    const known = data.method === 'ping' || data.method === 'ui/resource-teardown';
    if (data.method === 'ui/resource-teardown') host.closed = true;
    post(known ? { id: data.id, result: {} } : { id: data.id, error: { code: -32601, message: 'Method not found' } });
  } else if (data.method === 'ui/notifications/host-context-changed') {
    applyContext(data.params || {});
  } else {
    host.on[data.method.replace('ui/notifications/', '')]?.(data.params || {});
  }
});

const applyContext = (changed) => {
  Object.assign(host.context, changed);
  const root = document.documentElement;
  if (changed.theme === 'light' || changed.theme === 'dark') root.style.colorScheme = changed.theme;
  for (const [name, value] of Object.entries(changed.styles?.variables || {})) {
    if (/^--[\w-]+$/.test(name) && typeof value === 'string') root.style.setProperty(name, value);
  }
  fitSize();
};

let lastSize = '';
const fitSize = () => {
  const root = document.documentElement;
  root.style.height = 'max-content';
  const height = Math.ceil(root.getBoundingClientRect().height);
  root.style.height = '';
  const size = `${innerWidth} ${height}`;
  if (!innerWidth || size === lastSize || !host.ready) return;
  lastSize = size;
  post({ method: 'ui/notifications/size-changed', params: { width: innerWidth, height } });
};

// Connect, then hand the call's arguments and its answer to the view.
const start = async (name, { input = () => {}, result }) => {
  const failed = (text) => show(heading(name), el('p.note.danger', { role: 'alert' }, text));
  host.on['tool-input'] = ({ arguments: args }) => input(args || {});
  host.on['tool-cancelled'] = ({ reason }) => failed(`The call was not completed. ${reason || ''}`);
  host.on['tool-result'] = (answer) => {
    host.account = answer._meta?.['extend-mcp/account'];
    if (answer.isError || !answer.structuredContent) {
      failed(answer.content?.find((block) => block.type === 'text')?.text || 'The tool gave no facts to show.');
    } else result(answer.structuredContent);
  };
  if (parent === window) return failed('This view works inside an MCP host.');
  new ResizeObserver(fitSize).observe(document.body);
  try {
    const answer = await host.request('ui/initialize', {
      protocolVersion: '2026-01-26',
      appInfo: { name: `extend-mcp ${page.view}`, version: '1' },
      appCapabilities: { availableDisplayModes: ['inline', 'fullscreen'] },
    });
    host.can = answer.hostCapabilities || {};
    host.ready = true;
    applyContext(answer.hostContext || {});
    post({ method: 'ui/notifications/initialized', params: {} });
  } catch (error) {
    failed(error.message);
  }
};

// --- Elements: texts become text nodes, and no attribute can load or run anything ---

const ATTRIBUTES = new Set(['class', 'role', 'scope', 'type', 'id', 'tabindex', 'colspan', 'title']);

// el('p.soft', { id: 'x' }, text, ...): the attributes may be left out.
const el = (name, ...children) => {
  const [tag, ...classes] = name.split('.');
  const made = document.createElement(tag);
  if (classes.length) made.className = classes.join(' ');
  const given = children[0]?.constructor === Object ? children.shift() : {};
  for (const [name, value] of Object.entries(given)) {
    if (name === 'click') made.addEventListener('click', value);
    else if (name === 'disabled') made.disabled = value;
    else if (name === 'vars') for (const [key, size] of Object.entries(value)) made.style.setProperty(key, size);
    else if (ATTRIBUTES.has(name) || name.startsWith('aria-')) made.setAttribute(name, value);
  }
  made.append(...children.flat(9).filter((child) => child !== null && child !== undefined && child !== false));
  return made;
};

const main = document.querySelector('main');

const show = (...children) => {
  // A refresh keeps the keyboard where it was.
  const focused = document.activeElement?.id;
  main.replaceChildren(...children.flat(9).filter(Boolean));
  main.removeAttribute('aria-busy');
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  fitSize();
};

const button = (text, click, given = {}) => el('button', { type: 'button', click, ...given }, text);
// The operator's name for the account, such as PRODUCTION, is next to every title.
const heading = (text, ...more) => el('div.row', el('h1', { tabindex: '-1', id: 'title' }, text),
  host.account && el('span.label', `${host.account}`), more);
const focusTitle = () => document.getElementById('title')?.focus({ preventScroll: true });

// What the view did or could not do, announced by screen readers.
const announcer = document.getElementById('said');
const say = (text, tone = 'quiet') => {
  announcer.className = text ? `note ${tone}` : '';
  announcer.textContent = text;
  fitSize();
};

const TONES = {
  PROCESSED: 'success', FAILED: 'danger', REJECTED: 'danger', NEEDS_REVIEW: 'warning', PROCESSING: 'info', INVALIDATED: 'warning',
};
const tone = (status) => TONES[status] || 'quiet';
const words = (status) => `${status || 'unknown'}`.replaceAll('_', ' ').toLowerCase().replace(/^./, (c) => c.toUpperCase());
const pill = (status) => el('span', { class: `pill ${tone(status)}` }, words(status));
const isMoving = (status) => ['PENDING', 'PROCESSING', 'CANCELLING'].includes(status);
const canCancel = (status) => ['PENDING', 'PROCESSING'].includes(status);

// Lines of ours mark what documents and people wrote with «»; here quotation marks do.
const unmarked = (line) => `${line ?? ''}`.replaceAll('«', '“').replaceAll('»', '”');

const dashboardButton = (url, label = 'Open dashboard') => {
  if (typeof url !== 'string' || !DASHBOARD.test(url)) return null;
  const plain = el('span.mono.soft', url);
  if (!host.can.openLinks) return plain;
  const made = button(label, async () => {
    let refused = '';
    try {
      if ((await host.request('ui/open-link', { url })).isError) refused = 'The host did not open the link';
    } catch (error) {
      refused = error.message;
    }
    if (refused) say(`${refused}: ${url}`, 'warning');
  });
  return made;
};

// --- Numbers and times ---

const number = (value) => (typeof value === 'number' ? value.toLocaleString('en-US', { maximumFractionDigits: 1 }) : '–');
const percent = (part, whole) => (whole ? `${+((100 * part) / whole).toPrecision(2)}%` : '–');
const plural = (count, noun) => `${number(count)} ${noun}${count === 1 ? '' : 's'}`;

const span = (seconds) => {
  if (typeof seconds !== 'number') return '–';
  if (seconds < 60) return `${Math.round(seconds)}s`;
  const [big, small] = seconds < 3600 ? [60, 1] : seconds < 86400 ? [3600, 60] : [86400, 3600];
  const names = { 60: ['m', 's'], 3600: ['h', 'm'], 86400: ['d', 'h'] }[big];
  const whole = Math.floor(seconds / big);
  const rest = Math.floor((seconds - whole * big) / small);
  return rest ? `${whole}${names[0]} ${rest}${names[1]}` : `${whole}${names[0]}`;
};

const moment = (text) => (text && !Number.isNaN(Date.parse(text)) ? Date.parse(text) / 1000 : null);
const ago = (text) => (moment(text) === null ? 'age unknown' : `${span(Math.max(0, Date.now() / 1000 - moment(text)))} ago`);
const clock = (seconds) => new Date(seconds * 1000).toISOString().slice(11, 19);
const day = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 16).replace('T', ' ');

// Texts of a document that seem to speak to an assistant.
const cautions = (spoken) => (spoken || []).map((each) => el('p.note.warning', `Caution: in ${each.where}, a text seems to ${each.does}: “${each.excerpt}”`));

// The checks that a run did not pass, with the values that they compare.
const checks = (failed) => (failed || []).map((each) => el('div.check',
  el('div', each.inferred ? `Probably step “${each.step}”` : each.check, el('span.soft', each.inferred ? '' : ` in step “${each.step}”`)),
  each.error && el('div.soft', each.error), each.formula && el('div.mono.soft', each.formula),
  each.values && el('div.mono', Object.entries(each.values).map(([name, value]) => `${name} ${value}`).join(' · '))));

const fact = (name, ...value) => el('div', el('dt', name), el('dd', ...value));
const big = (text) => el('span.big', text);
const bar = (from, size, kind) => el('span', { class: `bar ${kind}`, vars: { '--from': from, '--size': size } });
