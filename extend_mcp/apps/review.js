// Runs that wait for a person, the oldest first. This view opens dashboard links and calls nothing.

const drawQueue = (facts, only = null) => {
  const rows = facts.runs.filter((each) => !only || each.workflow === only);
  const names = Object.entries(facts.by_workflow || {});
  show(
    heading(`${number(facts.total)} ${facts.total === 1 ? 'run waits' : 'runs wait'} for review`),
    el('p.soft', facts.note),
    (facts.missing || []).map((each) => el('p.note.warning', `Incomplete: ${each}.`)),
    names.length > 1 && el('div.row.apart', { role: 'group', 'aria-label': 'Show one workflow' },
      button(`All ${number(facts.total)}`, () => drawQueue(facts), { id: 'all', 'aria-pressed': `${!only}` }),
      names.map(([name, count], index) => button(`${name} ${number(count)}`, () => drawQueue(facts, name),
        { id: `only-${index}`, 'aria-pressed': `${only === name}` }))),
    el('ol.list.apart', rows.map((each, index) => el('li.stack',
      el('div.spread',
        el('div',
          el('div', each.file || each.run_id),
          el('div.soft.small', each.workflow, ' · ', each.since || ago(each.created_at))),
        dashboardButton(each.dashboard_url, 'Review in dashboard')),
      each.checks?.length ? checks(each.checks)
        : el('div.check', 'Extend does not say which check sent it here.'),
      cautions(each.speaks_to_assistant), el('p.mono.soft', each.run_id)))),
    facts.shown < facts.total && el('p.soft', `The oldest ${number(facts.shown)} of ${number(facts.total)} are shown.`));
};

start('Review queue', { result: (facts) => drawQueue(facts) });
