// One run: its steps on a time axis, what failed or is awaited, files, credits, extracted fields, and the cancel.

const EXTRACTS = ['EXTRACT', 'MERGE_EXTRACT', 'CONDITIONAL_EXTRACT'];
const MOST_LOOKS = 300;

// Show a run and keep it fresh while it moves; `back` is the way back to a list.
const openRun = (first, back = null) => {
  let run = first;
  let wait = 3;
  let looks = 0;
  let busy = false;
  let plan = null;
  let opened = null;
  let left = false;

  const draw = () => show(
    el('div.spread',
      el('div.stack',
        back && button('‹ Back', () => { host.leave(); back(); }, { class: 'plain', id: 'back' }),
        heading(run.workflow || 'Workflow run', pill(run.status)),
        el('p.soft', `${run.version ? `Version ${run.version} · ` : ''}${run.meaning || ''}`)),
      el('div.row', dashboardButton(run.dashboard_url),
        canCancel(run.status) && host.offers('cancel_workflow_run')
          && button('Cancel run', () => cancel({}), { class: 'danger', id: 'cancel', disabled: busy || !!plan }))),
    plan && confirmation(),
    (run.failures || []).slice(0, 3).map(failure),
    run.waits_for && el('p', { class: `note ${tone(run.status)}` }, 'Waits for ', unmarked(run.waits_for), run.state_since ? `, ${run.state_since.replace(/^since \S+Z \((.+) ago\)$/, 'for $1')}` : ''),
    checks(run.failed_checks), cautions(run.speaks_to_assistant),
    run.rejection_note && el('p.note.warning', 'Reviewer: ', run.rejection_note),
    el('dl.facts',
      fact('File', (run.files || []).slice(0, 3).map((file) => el('div', file.name || file.id,
        el('span.soft', ` ${[file.type, file.pages && plural(file.pages, 'page')].filter(Boolean).join(', ')}`))),
        run.files?.length > 3 && el('div.soft', `and ${run.files.length - 3} more`)),
      fact('Created', moment(run.created_at) === null ? '–' : `${day(moment(run.created_at))} UTC`,
        el('div.soft.small', ago(run.created_at))),
      fact(run.ended_at ? 'Took' : 'Running for', span(run.duration_seconds)),
      fact('Steps done', `${number(run.steps_done)} of ${number(run.steps_known)}`),
      typeof run.credits === 'number' && fact('Credits', number(run.credits))),
    timeline(),
    result(),
    el('footer.mono', run.run_id));

  const failure = (each) => el('div.note.danger',
    el('strong', each.step ? `${each.step}: ` : '', each.reason), each.message ? ` ${each.message}` : '',
    each.retry && el('div', each.retry.replace(/^./, (c) => c.toUpperCase()), '.'));

  // --- Time axis ---

  const timeline = () => {
    const steps = run.steps || [];
    if (!steps.length) return [el('h2', 'Steps'), el('p.soft', 'None yet.')];
    const begin = moment(run.created_at) ?? moment(run.started_at);
    const started = moment(run.started_at);
    const last = Math.max(...steps.map((step) => moment(step.ended_at) ?? 0));
    let end = moment(run.ended_at) ?? (started === null ? Date.now() / 1000 : started + (run.duration_seconds || 0));
    // A review can take days, beside which the steps would vanish.
    const reviewed = last && begin !== null && end - last > 4 * (last - begin);
    const waitsUntil = end;
    if (reviewed) end = last + (last - begin) / 3;
    const length = end - begin;
    const track = (from, to, kind) => begin !== null && length > 0 && from !== null && to !== null
      && el('div.track', { 'aria-hidden': 'true' }, bar((from - begin) / length, (Math.min(to, end) - from) / length, kind));
    let about = false;
    let at = started;
    const line = (name, track, end, below) => el('li.step', el('div.name', name),
      track || el('div.track.none'), el('div.end', end), below && el('div.below.soft.small', below));
    const rows = steps.map((step, index) => {
      const known = moment(step.started_at);
      const next = steps.slice(index + 1).map((each) => moment(each.started_at)).find((each) => each !== null);
      const moving = ['PROCESSING', 'WAITING'].includes(step.status);
      const begun = moving || !['PENDING', 'CANCELLED', ''].includes(step.status);
      const from = known ?? (begun ? at : null);
      const to = from === null ? null : moment(step.ended_at) ?? (moving || step.status === 'FAILED' ? end : next ?? at);
      const guessed = known === null && from !== null && !moving;
      about ||= guessed;
      if (to !== null) at = Math.max(at ?? to, to);
      return line([el('span.soft.num', `${step.number} `), step.name || step.type],
        track(from, to, `${tone(step.status)} ${guessed ? 'about' : ''} ${moving && isMoving(run.status) ? 'moving' : ''}`),
        [known !== null && step.ended_at && el('span.soft.num.small', span(to - from)), pill(step.status)],
        [unmarked(step.summary), step.status === 'PROCESSED' && host.offers('get_step_result')
          && button('Show', () => load(step), { class: 'plain small', id: `step${step.number}`, 'aria-label': `Show the result of ${step.name || step.type}`, 'aria-pressed': `${opened?.number === step.number}` })]);
    });
    const queued = started !== null && begin !== null && started > begin;
    return [
      el('h2', 'Steps'),
      begin !== null && el('div.step.axis.small.soft.num', el('span.name'),
        el('div.spread', el('span', `${clock(begin)} UTC`), el('span', run.ended_at ? clock(waitsUntil) : 'now'))),
      el('ol',
        (queued || run.status === 'PENDING') && line(el('span.soft', 'Queue'), track(begin, started ?? end, 'quiet'),
          el('span.soft.num.small', span((started ?? end) - begin))),
        rows,
        run.status === 'NEEDS_REVIEW' && last > 0 && line('Review', track(last, end, 'warning'), pill('WAITING'))),
      about && el('p.soft.small', 'Pale bars: Extend reports no times for these steps, so they fill the gap between others.'),
    ];
  };

  // --- What a step found ---

  const result = () => opened && el('section', { 'aria-label': `Result of ${opened.name}` },
    el('h2', opened.found?.fields?.length ? `Extracted fields: ${opened.name}` : `Result: ${opened.name}`),
    typeof opened.found === 'string' ? el('p.soft', { role: 'status' }, opened.found)
      : opened.found.fields?.length ? fieldTable(opened.found.fields)
        : el('pre', { tabindex: '0', role: 'region', 'aria-label': `Result of ${opened.name}` }, unmarked(opened.found.content)),
    opened.found.pages > 1 && el('p.soft.small', `Page 1 of ${opened.found.pages}.`));

  const load = async (step) => {
    const mine = { number: step.number, name: step.name || step.type, found: 'Reading…' };
    opened = mine;
    draw();
    try {
      mine.found = (await host.call('get_step_result', { run_id: run.run_id, step: step.id || `${step.number}` })).step_result;
    } catch (error) {
      mine.found = error.message;
    }
    if (opened === mine && !left) draw();
  };

  const fieldTable = (fields) => el('table',
    el('thead', el('tr', ['Field', 'Value', 'Confidence'].map((name) => el('th', { scope: 'col' }, name)))),
    el('tbody', fields.map((each) => el('tr',
      el('td.mono', each.path), el('td', each.value ?? '–'),
      el('td.num', typeof each.confidence !== 'number' ? '–' : [
        el('span.meter', { 'aria-hidden': 'true' },
          bar(0, each.confidence, each.confidence < 0.7 ? 'danger' : each.confidence < 0.9 ? 'warning' : 'quiet')),
        ` ${each.confidence.toFixed(2)}`])))));

  // --- Cancel: the server checks the run and asks a person, whoever calls ---

  const cancel = async (token) => {
    busy = true;
    plan = null;
    draw();
    say('The server is checking the run. Confirm in your host if it asks.', 'info');
    try {
      const answer = await host.call('cancel_workflow_run', { run_id: run.run_id, ...token }, 0);
      if (answer.outcome === 'confirmation_required') {
        plan = answer;
        say('');
      } else say(unmarked(answer.message), { cancelled: 'success', declined: 'quiet' }[answer.outcome] || 'warning');
    } catch (error) {
      say(error.message, 'danger');
    }
    busy = false;
    await look();
    if (plan) document.getElementById('no')?.focus();
  };

  const confirmation = () => el('div.note.danger.stack', { role: 'group', 'aria-label': 'Confirm the cancel' },
    el('strong', `Cancel this run of “${run.workflow}”?`),
    el('ul.plan', (plan.details || []).slice(1).map((line) => el('li', unmarked(line)))),
    el('div.row',
      button('Keep it running', () => { plan = null; draw(); }, { id: 'no' }),
      button('Yes, cancel it', () => cancel({ confirmation_token: plan.confirmation_token }), { class: 'solid', id: 'yes' })));

  // --- Refresh ---

  host.leave = () => { left = true; say(''); };

  const look = async () => {
    const fresh = await host.call('get_workflow_run', { run_id: run.run_id }).catch(() => null);
    if (left || !fresh) return;
    if (fresh.status !== run.status || fresh.steps_done !== run.steps_done) wait = 3;
    run = fresh;
    draw();
  };

  const follow = async () => {
    if (left || host.closed || !isMoving(run.status) || !host.offers('get_workflow_run') || looks >= MOST_LOOKS) return;
    setTimeout(async () => {
      if (!document.hidden && !busy && !left) {
        looks += 1;
        wait = Math.min(wait * 1.3, 20);
        await look();
      }
      follow();
    }, wait * 1000);
  };

  draw();
  follow();
  const extraction = (run.steps || []).find((step) => step.status === 'PROCESSED' && EXTRACTS.includes(step.type));
  if (extraction && !isMoving(run.status) && host.offers('get_step_result')) load(extraction);
};

if (page.view === 'run') start('Workflow run', { result: (facts) => openRun(facts) });
