// Many runs: by status, over time, by workflow or cause. A click narrows to a list, a second opens the run.

const GROUPS = { workflow: 'Workflow', failure_reason: 'Cause', failing_step: 'Failing step', version: 'Version', file_type: 'File type' };
const NOT_FILTERS = ['group_by', 'metadata_key', 'sort_by', 'sort_dir', 'page_size', 'page_token', 'time_zone', 'sort'];

let asked = {};
let summary = null;

const filters = (more) => JSON.parse(JSON.stringify({ ...Object.fromEntries(Object.entries(asked).filter(([name]) => !NOT_FILTERS.includes(name))), ...more }));

// Read with a tool, then show; what went wrong is said where the reader is.
const go = async (tool, args, screen) => {
  say('Reading…');
  try {
    const facts = await host.call(tool, args);
    say('');
    screen(facts);
    focusTitle();
  } catch (error) {
    say(error.message, 'danger');
  }
};

const drawSummary = (facts) => {
  summary = facts;
  const failed = facts.failed || 0;
  const before = facts.before;
  const narrows = host.offers('list_runs');
  show(
    el('div.spread', heading('Workflow runs'),
      host.offers('summarize_runs') && button('Refresh', () => go('summarize_runs', asked, drawSummary), { id: 'refresh' })),
    el('p.soft', described(filters({}))),
    (facts.missing || []).map((each) => el('p.note.warning', `Incomplete: ${each}.`)),
    el('dl.facts',
      fact('Runs', big(number(facts.runs)), before && el('div.soft.small', `${before.runs ? number(before.runs) : 'none'} in the window before`)),
      fact('Failed', big(percent(failed, facts.runs)),
        el('div.soft.small', plural(failed, 'run'), before?.change ? `, ${points(before.change)} on the window before` : '')),
      fact('Took, median', big(span(facts.duration_p50)), el('div.soft.small', `95th percentile ${span(facts.duration_p95)}`)),
      fact('Credits', big(number(facts.credits)))),
    el('h2', 'By status'),
    el('div.row', Object.entries(facts.statuses).map(([status, count]) => (narrows
      ? button([pill(status), el('span.num', number(count))], () => list({ status }), { class: 'chip', id: `status-${status}` })
      : el('span', pill(status), ` ${number(count)}`))),
      narrows && button(typeof facts.stuck === 'number' ? `${number(facts.stuck)} stuck` : 'Find stuck runs', () => list({ status: undefined, stuck: true }), { class: 'plain', id: 'stuck' })),
    chart(facts.over_time),
    waitingRuns(facts),
    el('h2', 'Grouped by'),
    host.offers('summarize_runs') && el('div.row', { role: 'group', 'aria-label': 'Group by' },
      Object.entries(GROUPS).map(([key, name]) => button(name, () => {
        asked = { ...asked, group_by: key };
        go('summarize_runs', asked, drawSummary);
      }, { id: `by-${key}`, 'aria-pressed': `${facts.grouped_by === key}` }))),
    facts.groups.length ? groupTable(facts, narrows) : el('p.soft', 'No runs in any group.'),
    facts.groups_left_out > 0 && el('p.soft.small', `${number(facts.groups_left_out)} smaller groups are left out.`),
    facts.as_of && el('footer', `As of ${clock(moment(facts.as_of))} UTC`));
};

const described = (chosen) => Object.entries(chosen).map(([name, value]) => `${words(name)}: ${value}`).join(' · ') || 'All runs of the account';

const groupTable = (facts, narrows) => {
  const shares = facts.groups.some((each) => typeof each.share_of_failures === 'number');
  return el('table',
    el('thead', el('tr', el('th', { scope: 'col' }, words(facts.grouped_by)), el('th.right', { scope: 'col' }, 'Runs'),
      el('th', { scope: 'col' }, shares ? 'Of all failures' : 'Failed'), el('th.right.wide', { scope: 'col' }, 'Median'), el('th.right.wide', { scope: 'col' }, 'Credits'))),
    el('tbody', facts.groups.map((each, index) => {
      const rate = each.share_of_failures ?? each.failure_rate ?? 0;
      const more = narrows && narrowing(facts.grouped_by, each);
      return el('tr',
        el('td', more ? button(each.group, () => list(more), { class: 'plain', id: `group-${index}` }) : each.group,
          each.second_group && el('span.soft', ` ${each.second_group}`)),
        el('td.num.right', number(each.runs)),
        el('td.num', el('span.meter', { 'aria-hidden': 'true' }, rate > 0 && bar(0, rate, 'danger')), ` ${percent(rate, 1) }`,
          each.change ? el('span.soft.wide', ` ${points(each.change)}`) : null),
        el('td.num.right.wide', span(each.duration_p50)), el('td.num.right.wide', number(each.credits)));
    })));
};

const points = (change) => `${change > 0 ? '▲' : '▼'} ${percent(Math.abs(change), 1)}`;

const narrowing = (grouped, each) => {
  // A failure without a reason is in a group with words of ours.
  if (grouped === 'failure_reason') return /^[A-Z_]+$/.test(each.group) && { status: 'FAILED', failure_reason: each.group };
  return { workflow: { workflow: each.id || each.group }, status: { status: each.group } }[grouped];
};

const chart = (time) => {
  if (!time?.runs?.length) return null;
  const most = Math.max(...time.runs);
  const said = `Runs by ${time.unit}, at most ${number(most)}. ${time.most_failed ? `Most failures: ${number(Math.max(...time.failed))} in ${time.most_failed}.` : 'None failed.'}`;
  return [
    el('h2', 'Over time'),
    el('div.chart', { role: 'img', 'aria-label': said }, time.runs.map((runs, index) => el('i',
      { title: `${plural(runs, 'run')}, ${number(time.failed[index])} failed` },
      el('b', { vars: { '--size': runs / most } }), time.failed[index] > 0 && el('b.danger', { vars: { '--size': time.failed[index] / most } })))),
    el('div.spread.small.soft.num', el('span', time.begins), el('span', time.ends)),
    el('p.small.soft', el('i.swatch'), 'runs ', el('i.swatch.danger'), 'failed · ', said),
  ];
};

const waitingRuns = (facts) => facts.oldest_waiting?.length > 0 && [
  el('h2', 'Waiting longest'),
  el('ul.list', facts.oldest_waiting.map((each) => el('li', openable(each.run_id, [
    pill(each.status), el('span.num.end', ago(each.created_at)), el('span.mono.soft', each.run_id)])))),
];

const openable = (runId, children) => (host.offers('get_workflow_run')
  ? button(children, () => go('get_workflow_run', { run_id: runId }, (run) => openRun(run, here)), { class: 'item', id: `run-${runId}` })
  : el('div.item', children));

// --- The list that a click narrows to ---

let here = () => {};

const list = (more) => go('list_runs', filters(more), (facts) => drawList(facts, filters(more)));

const drawList = (facts, chosen) => {
  const rows = facts.runs;
  here = () => { drawList(facts, chosen); focusTitle(); };
  show(
    summary && button('‹ All runs', () => { here = backToSummary; backToSummary(); }, { class: 'plain', id: 'back' }),
    el('div.spread', heading('Workflow runs'),
      host.offers('list_runs') && button('Refresh', () => go('list_runs', chosen, (fresh) => drawList(fresh, chosen)), { id: 'refresh' })),
    el('p.soft', `${described(chosen)} · ${plural(rows.length, 'run')}${facts.complete ? '' : ', there are more'}`),
    facts.note && el('p.note.warning', facts.note),
    rows.length ? el('ul.list', rows.map((each) => el('li', openable(each.run_id, [
      el('span', each.file || each.run_id), el('span.end', pill(each.status)),
      el('span.soft.small', each.workflow),
      el('span.soft.small.num.end', `${ago(each.created_at)}${typeof each.took_seconds === 'number' ? ` · ${span(each.took_seconds)}` : ''}`),
      each.why && el('span.small', unmarked(each.why))])))) : el('p.soft', 'No run fits.'),
    facts.next_page_token && host.offers('list_runs') && button('Show more', () => go('list_runs', { page_token: facts.next_page_token },
      (next) => drawList({ ...next, runs: [...rows, ...next.runs] }, chosen)), { id: 'more' }));
};

const backToSummary = () => { drawSummary(summary); focusTitle(); };
here = backToSummary;

start('Workflow runs', {
  input: (args) => { asked = args; },
  result: (facts) => (facts.statuses ? drawSummary(facts) : drawList(facts, filters({}))),
});
