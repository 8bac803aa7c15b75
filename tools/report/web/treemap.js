// The image by size: areas for packages or folders, down to files.
function treemap() {
  const image = data.image;
  const box = byId("treemap");
  if (!image) {
    byId("treemap-bar").hidden = box.hidden = true;
    return byId("image-total").replaceChildren("No root file system of this version has been built: ", el("code", null, "cargo xtask rootfs"));
  }
  const { total, packages } = image.sizes;
  const stored = total.stored !== null;
  const hue = (number) => (number * 137.5 + 210) % 360;

  // A tree with sums. `make` is a folder's children, or a file.
  const leaf = (file) => ({ name: file.n, b: file.b, s: file.s ?? file.b, owner: file.o ?? 0, children: [] });
  function folder(name, children, join = true) {
    // A folder with nothing but a folder in it is one name.
    if (join && children.length === 1 && children[0].children.length) return { ...children[0], name: name ? `${name}/${children[0].name}` : children[0].name };
    const node = { name, b: 0, s: 0, children };
    const weight = new Map();
    children.forEach((child) => {
      node.b += child.b;
      node.s += child.s;
      weight.set(child.owner, (weight.get(child.owner) || 0) + child.s + 1);
    });
    // The owner of most of it gives the colour.
    node.owner = [...weight].reduce((best, one) => (one[1] > best[1] ? one : best), [0, -1])[0];
    return node;
  }
  function build(entry, keep) {
    if (entry.b !== undefined) return keep(entry) ? leaf(entry) : null;
    const children = (entry.c || []).map((child) => build(child, keep)).filter(Boolean);
    return children.length ? folder(entry.n, children) : null;
  }
  // The whole tree under a name of its own; what its only folder is called stays inside.
  const named = (name, tree) => ({ ...tree, name, children: tree.name ? [tree] : tree.children });
  const trees = { folders: () => named("/", build(image.files, () => true) || folder("", [])) };
  trees.packages = () => {
    const parts = image.owners.map((owner, number) => {
      const tree = build(image.files, (file) => file.o === number);
      return tree && named(plainImage(owner), tree);
    });
    return named("all packages", folder("", parts.filter(Boolean), false));
  };
  const built = {};
  const root = () => (built[byId("group").value] ||= trees[byId("group").value]());
  let path = [];

  const measure = () => byId("measure").value;
  // Squarified: rows are filled as long as the worst ratio of sides becomes better.
  function squarify(nodes, x, y, w, h, put) {
    let list = nodes.filter((node) => node[measure()] > 0).sort((a, b) => b[measure()] - a[measure()]);
    let sum = list.reduce((all, node) => all + node[measure()], 0);
    while (list.length && w > 0.5 && h > 0.5) {
      const side = Math.min(w, h), scale = (w * h) / sum;
      let count = 0, row = 0, worst = Infinity;
      for (; count < list.length; count++) {
        const area = (row + list[count][measure()]) * scale, thick = area / side;
        const ratio = Math.max(...[list[0], list[count]].map((node) => ((length) => Math.max(length / thick, thick / length))((node[measure()] * scale) / thick)));
        if (ratio > worst) break;
        worst = ratio;
        row += list[count][measure()];
      }
      const thick = (row * scale) / side;
      let along = 0;
      list.slice(0, count).forEach((node) => {
        const length = (node[measure()] * scale) / thick;
        if (w <= h) put(node, x + along, y, length, thick);
        else put(node, x, y + along, thick, length);
        along += length;
      });
      if (w <= h) [y, h] = [y + thick, h - thick];
      else [x, w] = [x + thick, w - thick];
      sum -= row;
      list = list.slice(count);
    }
  }
  function show(focus) {
    const here = path.at(-1) || root();
    const [width, height] = [box.clientWidth || 1000, box.clientHeight || 500];
    const cells = [];
    const spot = (x, y, w, h, node) => ({ left: `${(100 * x) / width}%`, top: `${(100 * y) / height}%`, width: `${(100 * w) / width}%`, height: `${(100 * h) / height}%`, "--hue": hue(node.owner) });
    const put = (depth, above) => (node, x, y, w, h) => {
      if (w < 3 || h < 3) return;
      const inside = node.children.length && depth < 8 && w > 60 && h > 44;
      const text = w > 34 && h > 15 ? [el("span", null, node.name), !inside && h > 32 ? el("span", null, size(node[measure()])) : ""] : [];
      const title = `${[...above, node].map((one) => one.name).join("/")}: ${stored ? `${size(node.s)} in the image, ` : ""}${size(node.b)}`;
      const open = () => node.children.length && go([...path, ...above, node]);
      cells.push(el("button", { type: "button", class: inside ? "cell folder" : "cell", title, "aria-label": title, style: spot(x, y, w, h, node), onclick: open }, ...text));
      if (inside) squarify(node.children, x + 3, y + 18, w - 6, h - 21, put(depth + 1, [...above, node]));
    };
    squarify(here.children, 0, 0, width, height, put(0, []));
    box.replaceChildren(...cells);
    const steps = [root(), ...path];
    byId("crumbs").replaceChildren(...steps.flatMap((node, at) => [at ? " › " : "", at + 1 < steps.length ? el("button", { type: "button", onclick: () => go(path.slice(0, at)) }, node.name) : el("b", null, `${node.name} ${size(node[measure()])}`)]));
    if (focus) box.firstElementChild?.focus();
  }
  function go(next) {
    path = next;
    show(true);
  }
  box.onkeydown = (event) => {
    const cells = [...box.children], at = cells.indexOf(document.activeElement);
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (step && at >= 0) cells[(at + step + cells.length) % cells.length].focus();
    else if ((event.key === "Escape" || event.key === "Backspace") && path.length) go(path.slice(0, -1));
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  byId("group").onchange = byId("measure").onchange = () => go([]);
  if (!packages.length) {
    byId("group").value = "folders";
    byId("group").options[0].disabled = true;
  }
  if (!stored) {
    byId("measure").value = "b";
    byId("measure").options[0].disabled = true;
  }
  addEventListener("resize", () => show());

  const whole = image.sizes.image ? `, ${size(image.sizes.image)} as ${image.sizes.format}` : `, ${image.sizes.format}`;
  byId("image-total").textContent = `${image.name}: ${total.files} files with ${size(total.bytes)}${whole}`;
  const openPackage = (part) => () => {
    byId("group").value = "packages";
    const node = root().children.find((child) => child.name === plainImage(part.name));
    if (node) go([node]);
    byId("image").scrollIntoView();
  };
  const rest = image.sizes.image ? [{ name: "inodes, directories and tables", stored: image.sizes.image - total.stored, bytes: null, files: null }] : [];
  const columns = [
    ["package", (part) => part.name, (part) => (part.files === null ? part.name : el("button", { type: "button", onclick: openPackage(part) }, plainImage(part.name)))],
    ["in the image", (part) => part.stored ?? 0, (part) => size(part.stored), true],
    ["share", (part) => part.stored ?? part.bytes, (part) => (stored ? percent(part.stored, image.sizes.image) : percent(part.bytes, total.bytes)), true],
    ["bytes", (part) => part.bytes ?? 0, (part) => size(part.bytes), true],
    ["files", (part) => part.files ?? 0, (part) => (part.files === null ? "" : String(part.files)), true],
  ].filter(([title]) => stored || title !== "in the image");
  if (packages.length) byId("parts").replaceChildren(table(columns, [...packages, ...rest]).node);
  show();
}
