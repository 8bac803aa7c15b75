// The head of the page, light and dark, and keys.
byId("facts").append(...data.facts.map(([name, value]) => el("div", null, el("dt", null, name), el("dd", { class: "mono" }, value))));
const THEMES = ["system", "light", "dark"];
function theme(name) {
  if (name === "system") document.documentElement.removeAttribute("data-theme");
  else document.documentElement.dataset.theme = name;
  byId("theme").textContent = `Colours: ${name}`;
  byId("theme").onclick = () => theme(THEMES[(THEMES.indexOf(name) + 1) % THEMES.length]);
}
theme("system");
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
  const section = document.querySelectorAll("main > section")[Number(event.key) - 1];
  if (section && event.key >= "1") {
    section.scrollIntoView();
    section.focus({ preventScroll: true });
  } else if (event.key === "/") {
    byId("search").focus();
  } else return;
  event.preventDefault();
});
for (const part of [graph, times, treemap, changes, bill]) part();
