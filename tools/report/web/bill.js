// The packages in the image: a table with a search. Every word must be in a row.
function bill() {
  const rows = data.packages;
  if (!rows.length) {
    byId("search").parentElement.hidden = true;
    return byId("bill").replaceChildren(empty("No records of packages: they are in the root file system, and none of this version is built."));
  }
  const texts = new Map(rows.map((row) => [row, Object.values(row).flat().join(" ").toLowerCase()]));
  const words = () => byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const column = (title, value, cell) => [title, value, cell || value];
  const columns = [
    column("name", (row) => row.name), column("version", (row) => row.version), column("origin", (row) => row.origin), column("licence", (row) => row.licence),
    column("where", (row) => row.places.join(" "), (row) => el("div", null, ...row.places.map((place) => el("div", { class: "mono" }, place)))),
    column("what", (row) => row.summary + (row.source ? ` (of ${row.source})` : "")),
  ];
  const counted = (count) => (byId("found").textContent = count === rows.length ? `${count} packages` : `${count} of ${rows.length} packages`);
  const shown = table(columns, rows, { keep: (row) => words().every((word) => texts.get(row).includes(word)), counted });
  byId("search").oninput = shown.fill;
  byId("bill").replaceChildren(shown.node);
}
