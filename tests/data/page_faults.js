// What of a page is cut, too wide or drawn over another, with everything unfolded, by the boxes that the browser has made.
() => {
const faults = [], shown = (one) => one.getClientRects().length > 0, rect = (one) => one.getBoundingClientRect();
const name = (one) => `${one.tagName}.${one.className?.baseVal ?? one.className} ${one.textContent.trim().slice(0, 40)}`;
for (const fold of document.querySelectorAll("details")) fold.open = true;
const extra = document.documentElement.scrollWidth - document.documentElement.clientWidth;
if (extra > 0) faults.push(`the page is ${extra} px wider than the window`);
for (const table of document.querySelectorAll("table")) {
const box = table.parentElement, style = getComputedStyle(box);
const wide = table.scrollWidth - box.clientWidth;
if (wide > 1 && !(style.overflowX === "auto" && box.tabIndex === 0)) faults.push(`table ${table.id} is cut`);
if (wide > 1 && getComputedStyle(table.querySelector("tbody th")).position !== "sticky") faults.push(`${table.id}: names scroll away`);
if (wide > 1 && innerWidth >= 1280 && !table.id.endsWith("-numbers")) faults.push(`table ${table.id} is ${wide} px too wide`);
}
for (const one of document.querySelectorAll("td, th, dt, dd, h1, h2, figcaption, summary, .state, .mean, .verdict span"))
if (shown(one) && one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).display !== "inline" && !one.classList.contains("unseen"))
faults.push(`text is wider than its place: ${name(one)}`);
const apart = (all, what) => {
for (let i = 0; i < all.length; i++) for (let j = i + 1; j < all.length; j++) {
const a = rect(all[i]), b = rect(all[j]);
const across = Math.min(a.right, b.right) - Math.max(a.left, b.left), down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
if (across > 1 && down > 3) faults.push(`${what} overlap: ${name(all[i])} | ${name(all[j])}`);
}
};
for (const chart of document.querySelectorAll("svg.chart")) {
const labels = [...chart.querySelectorAll("text")].filter((one) => shown(one) && one.textContent), frame = rect(chart);
apart(labels, `labels of ${chart.querySelector("title").textContent.slice(0, 30)}`);
for (const label of labels) if (rect(label).left < frame.left - 1 || rect(label).right > frame.right + 1) faults.push(`label is cut: ${name(label)}`);
}
for (const row of document.querySelectorAll(".server, .row, .key, .key > div, .verdict, .figures, .groups, summary, tr")) apart([...row.children].filter(shown), "parts");
return [...new Set(faults)];
}
