"use strict";

function sortBy(header) {
  const table = header.closest("table");
  const column = [...header.parentNode.children].indexOf(header);
  const descending = header.getAttribute("aria-sort") === "ascending";
  for (const other of header.parentNode.children) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const rows = [...table.tBodies[0].rows];
  rows.sort((one, other) => compare(one.cells[column].dataset.value, other.cells[column].dataset.value, descending));
  table.tBodies[0].append(...rows);
}

function compare(one, other, descending) {
  if (one === "" || other === "") return (one === "") - (other === "");
  const numbers = one - other;
  const order = Number.isNaN(numbers) ? one.localeCompare(other) : numbers;
  return descending ? -order : order;
}

function show(key) {
  for (const plots of document.querySelectorAll(".plots")) plots.hidden = plots.dataset.key !== key;
}

for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => sortBy(button.closest("th")));
}
const chooser = document.querySelector(".chooser");
if (chooser) {
  const select = chooser.querySelector("select");
  select.addEventListener("change", () => show(select.value));
  chooser.hidden = false;
  show(select.value);
}
