// Uses the page as a person does, and leaves what it saw as JSON in an element for the test.
const result = {};
const at = (selector) => document.querySelector(selector);
const all = (selector) => [...document.querySelectorAll(selector)];
const press = (key, target = document.activeElement) => target.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
const choose = (id, value) => {
  at(id).value = value;
  at(id).dispatchEvent(new Event("change"));
};
const type = (text) => {
  at("#search").value = text;
  at("#search").dispatchEvent(new Event("input"));
};
const stepNames = () => all("#graph .node text").map((node) => node.textContent).sort();
const crumbs = () => at("#crumbs").textContent;
const cells = () => all("#treemap .cell").map((cell) => cell.title.split(":")[0]);

function plan() {
  result.folded = stepNames();
  const tar = all("#graph .node").find((node) => node.textContent.startsWith("rootfs.tar"));
  tar.dispatchEvent(new MouseEvent("click", { bubbles: true }));
  result.chosen = at("#step").textContent;
  press("Enter");
  result.open = stepNames().length;
  press("ArrowLeft");
  result.left = document.activeElement.getAttribute("aria-label");
  press("ArrowRight");
  result.right = document.activeElement.getAttribute("aria-label");
  at("#fold-all").click();
  result.foldedAgain = stepNames().length;
  const [a, b] = all("#graph .node rect").map((node) => node.getBoundingClientRect());
  result.overlap = a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}
function times() {
  result.bars = all("#chart .track i").map((bar) => [bar.className, bar.style.left, bar.style.width].join(" "));
  result.total = at("#run-total").textContent;
}
function image() {
  result.packages = cells().filter((name) => !name.includes("/usr"));
  at("#treemap .cell").click();
  result.inside = crumbs();
  press("Escape");
  result.outside = crumbs();
  choose("#group", "folders");
  choose("#measure", "b");
  result.folders = cells();
  const area = (node) => node.getBoundingClientRect().width * node.getBoundingClientRect().height;
  const [large, small] = ["usr/bin/a", "usr/lib/b"].map((name) => area(all("#treemap .cell").find((cell) => cell.title.startsWith(`${name}:`))));
  result.ratio = Math.round(large / small);
  result.parts = all("#parts tbody tr").map((row) => row.textContent);
}
function changes() {
  result.changed = all("#changed tbody tr").map((row) => row.textContent);
}
function packages() {
  press("/", document.body);
  result.searching = document.activeElement.id;
  type("GPL glibc");
  result.found = [at("#found").textContent, ...all("#bill tbody tr").map((row) => row.firstChild.textContent)];
  type("");
  at("#bill th button").click();
  at("#bill th button").click();
  result.sorted = [at("#bill th").getAttribute("aria-sort"), ...all("#bill tbody tr").map((row) => row.firstChild.textContent)];
}
function look() {
  const back = () => getComputedStyle(document.body).backgroundColor;
  const colours = [0, 1, 2].map(() => (at("#theme").click(), back()));
  result.themes = new Set(colours).size;
  at("#search").blur();
  press("3", document.body);
  result.section = document.activeElement.id;
  result.wide = document.documentElement.scrollWidth > innerWidth;
}
for (const part of [plan, times, image, changes, packages, look]) part();
result.pwned = typeof window.pwned;
const pre = document.createElement("pre");
pre.id = "result";
pre.textContent = JSON.stringify(result);
document.body.append(pre);
console.warn("the end of the test");
