// What an action on many runs would do, run by run; then what became of each. The yes is said in the host.

const NAMES = { cancel_runs: 'Cancel runs', rerun_workflow_runs: 'Run again' };
const MOST_READ = 20;
const runs = new Map();
let args = {};

const title = () => NAMES[host.context.toolInfo?.tool?.name] || 'Plan';

// While the host asks, the answer does not exist yet: read the runs that the call names.
const preview = async (given) => {
  args = given;
  drawPlan(null, 'Reading the runs that this call names…');
  try {
    for (const run of await named(given)) runs.set(run.run_id, run);
  } catch (error) {
    return done || drawPlan(null, error.message);
  }
  drawPlan(done, '');
};

let done = null;

const LISTED = ['status', 'workflow', 'workflow_version', 'batch', 'file_name_contains', 'created_since', 'created_before', 'failure_reason', 'failing_step'];

const named = async (given) => {
  const ids = given.run_ids;
  if (ids) {
    const read = ids.slice(0, MOST_READ).map((id) => host.call('get_workflow_run', { run_id: id }).then(
      (run) => ({ ...run, file: run.files?.[0]?.name }), () => ({ run_id: id, status: 'unknown' })));
    return [...await Promise.all(read), ...ids.slice(MOST_READ).map((id) => ({ run_id: id }))];
  }
  const filters = Object.fromEntries(LISTED.filter((name) => given[name]).map((name) => [name, given[name]]));
  // The list cannot select by metadata, and a longer list than the plan would mislead.
  if (!Object.keys(filters).length || given.metadata) return [];
  const found = await host.call('list_runs', { ...filters, page_size: 50 });
  const acts = title() === NAMES.cancel_runs ? canCancel : (status) => ['FAILED', 'REJECTED', 'CANCELLED'].includes(status);
  const fitting = filters.status || filters.batch ? found.runs : found.runs.filter((run) => run.status === 'FAILED' || acts === canCancel);
  return fitting.filter((run) => acts(run.status));
};

const OUTCOMES = { cancelled: 'success', started: 'success', done: 'success', unknown: 'danger', refused: 'danger', not_found: 'danger', partial: 'warning' };
const outcome = (name) => el('span', { class: `pill ${OUTCOMES[name] || 'quiet'}` }, words(name));

const drawPlan = (facts, said = '') => {
  done = facts;
  const results = facts?.results || [];
  const rows = results.length ? results : [...runs.values()];
  show(
    heading(title(), facts && outcome(facts.outcome)),
    el('p.soft', facts ? unmarked(facts.message) : 'Nothing is sent before a person says yes in the host.'),
    said && el('p.soft', { role: 'status' }, said),
    facts?.plan && [el('h2', 'The plan'), el('ul.plan', facts.plan.map((line) => el('li', unmarked(line))))],
    facts && el('dl.facts', fact('Planned', big(number(facts.planned))),
      Object.entries(facts.counts || {}).map(([name, count]) => fact(words(name), big(number(count)))),
      Object.entries(facts.skipped || {}).map(([why, count]) => fact(`Left out: ${unmarked(why)}`, big(number(count))))),
    args.reason && el('p', 'Reason: ', args.reason),
    rows.length > 0 && [
      el('h2', results.length ? 'Run by run' : `Run by run, as read just now (${number(rows.length)})`),
      el('ol.list', rows.map((each) => row({ ...runs.get(each.run_id), ...each })))],
    facts?.outcome === 'confirmation_required' && el('footer', 'To go ahead, say yes in the chat. Nothing happens until then.'));
};

const row = (each) => el('li.item',
  el('span', each.file || each.run_id),
  el('span.end', each.outcome ? outcome(each.outcome) : each.status && pill(each.status)),
  el('span.soft.small', each.workflow || '', each.file && el('div.mono', each.run_id),
    each.note && el('div', unmarked(each.note))),
  el('span.soft.small.num.end', each.created_at ? ago(each.created_at) : ''));

start('Plan', { input: preview, result: (facts) => drawPlan(facts) });
