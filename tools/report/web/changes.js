// What changed since another build.
function changes() {
  const box = byId("changed");
  if (!data.changes) return box.replaceChildren(empty("No other version is built, so there is nothing to compare with. ", el("code", null, "cargo xtask report --against FILE"), " compares with an image."));
  const { old, new: now, found } = data.changes;
  const parts = [el("p", null, "From ", el("code", null, old), " to ", el("code", null, now), ".")];
  const versions = (title, list) => {
    if (!list.length) return;
    const columns = [["name", (one) => one.name, (one) => one.name], ["old", (one) => one.old || "", (one) => one.old || "–"], ["new", (one) => one.new || "", (one) => one.new || "–"]];
    parts.push(el("h3", null, `${title}: ${list.length}`), table(columns, list).node);
  };
  const sizes = [["all files", found.bytes], ["the image", found.stored]].filter(([, pair]) => pair && pair[0] !== pair[1]);
  sizes.forEach(([name, [before, after]]) => parts.push(el("p", null, `${name}: ${size(before)} → ${size(after)} (${after > before ? "+" : ""}${size(after - before)})`)));
  versions("Packages of the tree", found.packages);
  versions("Debian packages", found.debian);
  if (found.command_line) parts.push(el("h3", null, "Kernel command line"), el("pre", { class: "lines" }, el("div", { class: "minus" }, `- ${found.command_line[0]}`), el("div", { class: "plus" }, `+ ${found.command_line[1]}`)));
  found.lines.forEach(([path, lines]) => {
    const line = (text) => el("div", { class: text.startsWith("+") ? "plus" : text.startsWith("-") ? "minus" : null }, text);
    parts.push(el("h3", null, path), el("pre", { class: "lines" }, ...lines.map(line)));
  });
  if (found.files.length) {
    const most = 200;
    const files = [...found.files].sort((a, b) => Math.abs(b.new_size - b.old_size) - Math.abs(a.new_size - a.old_size));
    const columns = [
      ["file", (one) => one.path, (one) => el("span", { class: "mono" }, one.path)], ["change", (one) => one.change, (one) => one.change],
      ["old", (one) => one.old_size, (one) => size(one.old_size), true], ["new", (one) => one.new_size, (one) => size(one.new_size), true],
      ["difference", (one) => one.new_size - one.old_size, (one) => (one.new_size > one.old_size ? "+" : "") + size(one.new_size - one.old_size), true],
    ];
    const shown = table(columns, files.slice(0, most));
    parts.push(el("h3", null, `Files: ${files.length}`), shown.node);
    if (files.length > most) {
      const all = el("button", { type: "button", onclick: () => (shown.node.replaceWith(table(columns, files).node), all.remove()) }, `Show all ${files.length}`);
      parts.push(el("p", null, all));
    }
  }
  found.not_compared.forEach((text) => parts.push(el("p", { class: "minus" }, `not compared: ${text}`)));
  if (parts.length === 1) parts.push(empty("Nothing differs."));
  box.replaceChildren(...parts);
}
