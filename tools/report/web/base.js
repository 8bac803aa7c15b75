// The data, and what all parts of the page use. Every text becomes a text node, so no name in an image is read as HTML.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);

function add(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") Object.entries(value).forEach(([key, text]) => node.style.setProperty(key, text));
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}
const el = (tag, attributes, ...children) => add(document.createElement(tag), attributes, children);
const draw = (tag, attributes, ...children) => add(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

function size(bytes) {
  if (bytes === null || bytes === undefined) return "";
  let value = bytes;
  for (const unit of ["B", "KiB", "MiB"]) {
    if (Math.abs(value) < 1024) return unit === "B" ? `${bytes} B` : `${value.toFixed(1)} ${unit}`;
    value /= 1024;
  }
  return `${value.toFixed(1)} GiB`;
}
function seconds(value) {
  if (value < 10) return `${value.toFixed(2)} s`;
  if (value < 60) return `${value.toFixed(0)} s`;
  return `${Math.floor(value / 60)} min ${Math.floor(value % 60)} s`;
}
const percent = (part, whole) => (whole ? `${((100 * part) / whole).toFixed(1)} %` : "");
const plainImage = (name) => name.replace(/^docker\.io\//, "");
const empty = (...words) => el("p", { class: "empty" }, ...words);

// A table whose heads sort its rows. A column: [title, value for sorting, cell, whether it is a number].
function table(columns, rows, options = {}) {
  let sorted = null;
  const body = el("tbody");
  const fill = () => {
    let list = rows.filter(options.keep || (() => true));
    if (sorted) {
      const { value, down } = sorted;
      const order = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
      list = [...list].sort((a, b) => (down ? -1 : 1) * order(value(a), value(b)));
    }
    body.replaceChildren(...list.map((row) => el("tr", null, ...columns.map(([, , cell, number]) => el("td", { class: number ? "number" : null }, cell(row))))));
    if (options.counted) options.counted(list.length);
  };
  const heads = columns.map(([title, value, , number]) => {
    const head = el("th", { scope: "col", class: number ? "number" : null });
    const sort = () => {
      const down = sorted && sorted.head === head ? !sorted.down : Boolean(number);
      sorted = { head, value, down };
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      fill();
    };
    head.append(el("button", { type: "button", onclick: sort }, title));
    return head;
  });
  fill();
  const node = el("table", null, el("thead", null, el("tr", null, ...heads)), body);
  return { node, fill };
}
