// Sorts tables by a click on a heading, and opens folded parts for print. Pages say all they say without it.
(() => {
const sizes = { "%": 1, ms: 1, s: 1e3, min: 6e4, h: 3.6e6, d: 8.64e7 };
const key = (row, place) => {
const text = row.cells[place].textContent.trim();
const found = /^(-?[\d,]+(?:\.\d+)?(?:e[+-]?\d+)?)\s*(\D*)$/.exec(text);
if (found) return Number(found[1].replaceAll(",", "")) * (sizes[found[2]] ?? 1);
return text.startsWith("insufficient") ? "" : text;
};
const compare = (one, other) => {
if (one === "" || other === "") return (one === "") - (other === "");
return typeof one === "number" && typeof other === "number" ? one - other : String(one).localeCompare(String(other));
};
for (const table of document.querySelectorAll("table.data")) {
const body = table.tBodies[0];
if (body.rows.length < 3) continue;
[...table.tHead.rows[0].cells].forEach((head, place) => {
const button = document.createElement("button");
button.type = "button";
button.append(...head.childNodes);
head.append(button);
button.addEventListener("click", () => {
const down = head.getAttribute("aria-sort") === "ascending";
for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
head.setAttribute("aria-sort", down ? "descending" : "ascending");
const rows = [...body.rows].map((row) => [key(row, place), row]);
rows.sort((a, b) => a[0] === "" || b[0] === "" ? compare(a[0], b[0]) : compare(a[0], b[0]) * (down ? -1 : 1));
body.append(...rows.map((row) => row[1]));
});
});
}
addEventListener("beforeprint", () => {
for (const one of document.querySelectorAll("details:not(.numbers)")) one.open = true;
});
})();
