// When each step of a run began and how long it took.
function times() {
  const runs = data.runs;
  if (!runs.length) {
    byId("run").parentElement.hidden = true;
    return byId("chart").replaceChildren(empty("No run of this version has been recorded: ", el("code", null, `cargo xtask ${data.target}`), " records its steps."));
  }
  const longest = runs.reduce((best, run, at) => (run.seconds >= runs[best].seconds ? at : best), 0);
  const date = (run) => new Date(run.began * 1000).toISOString().slice(0, 16).replace("T", " ");
  runs.forEach((run, at) => byId("run").append(el("option", { value: at, selected: at === longest }, `${date(run)} UTC, ${run.steps.length} steps, ${seconds(run.seconds)}`)));
  function show() {
    const run = runs[byId("run").value];
    const steps = [...run.steps].sort((a, b) => a.start - b.start);
    const end = Math.max(run.seconds, ...steps.map((step) => step.start + step.seconds), 0.001);
    const marks = [0, 0.25, 0.5, 0.75, 1].map((part) => el("span", { style: { left: `${part * 100}%` } }, seconds(end * part)));
    const bar = (step) => el("i", { class: step.end, style: { left: `${(100 * step.start) / end}%`, width: `${(100 * step.seconds) / end}%` } });
    const row = (step) => el("div", { class: "row", title: `${step.node}: ${seconds(step.seconds)}, from ${seconds(step.start)}` },
      el("span", { class: "name mono" }, step.node), el("div", { class: "track" }, bar(step)), el("span", null, seconds(step.seconds)));
    byId("chart").replaceChildren(el("div", { class: "row head" }, el("span", null, "step"), el("div", { class: "track" }, ...marks), el("span", null, "time")), ...steps.map(row));
    const work = steps.reduce((sum, step) => sum + step.seconds, 0);
    byId("run-total").textContent = `${steps.length} steps, ${seconds(run.seconds)} with ${run.jobs} at once; one after the other ${seconds(work)}`;
  }
  byId("run").onchange = show;
  show();
}
