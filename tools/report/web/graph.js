// The plan as a graph: layers from left to right, each step in the last layer before the first that needs it. A folded step hides the steps
// that only folded steps need.
function graph() {
  const steps = data.steps;
  if (!steps.length) return byId("graph").replaceChildren(empty("No plan."));
  const users = steps.map(() => []);
  steps.forEach((step, at) => step.needs.forEach(([need]) => users[need].push(at)));
  const folded = new Set();
  let chosen = steps.length - 1;

  function visible() {
    const seen = new Set();
    const pending = steps.map((step, at) => at).filter((at) => steps[at].goal || !users[at].length);
    while (pending.length) {
      const at = pending.pop();
      if (seen.has(at)) continue;
      seen.add(at);
      if (!folded.has(at)) steps[at].needs.forEach(([need]) => pending.push(need));
    }
    return seen;
  }
  // All that a step needs, at any depth.
  function below(at, seen = new Set()) {
    steps[at].needs.forEach(([need]) => {
      if (!seen.has(need)) below(need, seen.add(need));
    });
    return seen;
  }
  const edgesOf = (shown, at) => (folded.has(at) ? [] : steps[at].needs.map(([need]) => need).filter((need) => shown.has(need)));

  function layersOf(shown) {
    const layer = new Map();
    for (let at = steps.length - 1; at >= 0; at--) {
      if (!shown.has(at)) continue;
      const after = users[at].filter((user) => shown.has(user) && !folded.has(user)).map((user) => layer.get(user));
      layer.set(at, after.length ? Math.min(...after) - 1 : 0);
    }
    const least = Math.min(...layer.values());
    const layers = [];
    for (const [at, number] of layer) (layers[number - least] ||= []).unshift(at);
    return layers;
  }

  const HEIGHT = 24, GAP = 8, BETWEEN = 56, CHARACTER = 7.3;
  // Heights by the mean of the neighbours' heights, from the goals to the left and back.
  function place(layers, shown) {
    const spot = new Map();
    layers.forEach((layer) => layer.forEach((at, row) => spot.set(at, row * (HEIGHT + GAP))));
    const mean = (list, at) => (list.length ? list.reduce((sum, other) => sum + spot.get(other), 0) / list.length : spot.get(at));
    const settle = (layer, neighbours) => {
      const wish = new Map(layer.map((at) => [at, mean(neighbours(at), at)]));
      layer.sort((a, b) => wish.get(a) - wish.get(b) || a - b);
      let low = -Infinity;
      layer.forEach((at) => spot.set(at, (low = Math.max(wish.get(at), low + HEIGHT + GAP))));
      const shift = layer.reduce((sum, at) => sum + spot.get(at) - wish.get(at), 0) / layer.length;
      layer.forEach((at) => spot.set(at, spot.get(at) - shift));
    };
    for (let sweep = 0; sweep < 4; sweep++) {
      [...layers].reverse().forEach((layer) => settle(layer, (at) => users[at].filter((user) => shown.has(user) && edgesOf(shown, user).includes(at))));
      layers.forEach((layer) => settle(layer, (at) => edgesOf(shown, at)));
    }
    const top = Math.min(...spot.values());
    spot.forEach((y, at) => spot.set(at, y - top + GAP));
    return spot;
  }

  function render(focus) {
    const shown = visible();
    const layers = layersOf(shown);
    const y = place(layers, shown);
    const label = (at) => steps[at].id + (folded.has(at) ? ` +${below(at).size}` : "");
    const widths = layers.map((layer) => Math.max(...layer.map((at) => label(at).length)) * CHARACTER + 34);
    const x = widths.map((_, at) => 4 + widths.slice(0, at).reduce((sum, width) => sum + width + BETWEEN, 0));
    const layer = new Map(layers.flatMap((list, number) => list.map((at) => [at, number])));
    const right = (at) => x[layer.get(at)] + label(at).length * CHARACTER + 34;
    const edges = [...shown].flatMap((at) => edgesOf(shown, at).map((need) => {
      const [from, to] = [[right(need), y.get(need) + HEIGHT / 2], [x[layer.get(at)], y.get(at) + HEIGHT / 2]];
      const bend = Math.max(BETWEEN / 2, (to[0] - from[0]) / 3);
      const near = at === chosen || need === chosen;
      return draw("path", { class: near ? "edge near" : "edge", d: `M${from} C${from[0] + bend},${from[1]} ${to[0] - bend},${to[1]} ${to}` });
    }));
    const nodes = layers.flat().map((at) => {
      const step = steps[at];
      const text = draw("text", { x: 26, y: 16 }, step.id);
      if (folded.has(at)) text.append(draw("tspan", { class: "more" }, ` +${below(at).size}`));
      const classes = ["node", step.due && "due", step.goal && "goal", at === chosen && "chosen"].filter(Boolean).join(" ");
      return draw("g", {
        class: classes, tabindex: 0, role: "button", "data-step": at, transform: `translate(${x[layer.get(at)]},${y.get(at)})`,
        "aria-expanded": step.needs.length ? String(!folded.has(at)) : null, "aria-label": `${step.id}, ${step.due ? "due" : "up to date"}`,
        onclick: () => (at === chosen ? toggle(at) : choose(at)), onkeydown: (event) => press(event, at, layers, layer.get(at), shown),
      }, draw("rect", { width: right(at) - x[layer.get(at)], height: HEIGHT, rx: 5 }), draw("circle", { cx: 14, cy: 12, r: 4.5 }), text);
    });
    const width = Math.max(...layers.map((_, number) => x[number] + widths[number])) + 4;
    const height = Math.max(...y.values()) + HEIGHT + GAP;
    byId("graph").replaceChildren(draw("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": "Plan" }, ...edges, ...nodes));
    byId("plan-count").textContent = `${data.target}: ${steps.length} steps, ${steps.filter((step) => step.due).length} due, ${shown.size} shown`;
    if (focus) byId("graph").querySelector(`[data-step="${chosen}"]`)?.focus();
    details();
  }
  function details() {
    const step = steps[chosen];
    const names = (list) => list.flatMap((at, number) => [number ? ", " : "", el("a", { href: "#plan", onclick: (event) => (event.preventDefault(), reveal(at)) }, steps[at].id)]);
    const last = [...data.runs].reverse().flatMap((run) => run.steps).find((one) => one.node === step.id && one.end !== "failed");
    const rows = [
      ["step", [step.id]], ["does", [step.does]], ["state", [step.due ? `due: ${step.due}` : "up to date"]],
      ["needs", step.needs.flatMap(([need, reason], number) => [number ? ", " : "", ...names([need]), ` (${reason})`])],
      ["needed by", names(users[chosen])], ["files", [step.outputs.join(", ")]],
      ["last time", [last ? `${seconds(last.seconds)}${last.end === "taken" ? ", taken from the store" : ""}` : ""]],
    ].filter(([, value]) => value.length && value[0] !== "");
    byId("step").replaceChildren(el("dl", null, ...rows.flatMap(([name, value]) => [el("dt", null, name), el("dd", null, ...value)])));
  }
  function choose(at) {
    chosen = at;
    render(true);
  }
  // Shows a step that may be hidden: what it stands below is unfolded.
  function reveal(at) {
    while (!visible().has(at)) {
      const over = [...folded].find((fold) => visible().has(fold) && below(fold).has(at));
      if (over === undefined) break;
      folded.delete(over);
    }
    choose(at);
  }
  function toggle(at) {
    if (!steps[at].needs.length) return choose(at);
    if (!folded.delete(at)) folded.add(at);
    choose(at);
  }
  function press(event, at, layers, number, shown) {
    const row = layers[number].indexOf(at);
    const next = {
      ArrowUp: layers[number][row - 1], ArrowDown: layers[number][row + 1], ArrowLeft: edgesOf(shown, at)[0],
      ArrowRight: users[at].find((user) => shown.has(user) && edgesOf(shown, user).includes(at)),
    }[event.key];
    if (next !== undefined) choose(next);
    else if (event.key === "Enter" || event.key === " ") toggle(at);
    else if (!event.key.startsWith("Arrow")) return;
    event.preventDefault();
    event.stopPropagation();
  }
  // At first only what has few needs of its own is open: the packages of a root file system are one click away.
  const foldMost = () => steps.forEach((step, at) => step.needs.length > 8 && folded.add(at));
  byId("fold-all").onclick = () => (foldMost(), render());
  byId("unfold-all").onclick = () => (folded.clear(), render());
  foldMost();
  render();
}
