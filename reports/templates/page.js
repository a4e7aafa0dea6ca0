// Sorts tables, opens folded parts, and tells the value under the pointer or the focus. Pages say all they say without it.
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
if (head.className === "cells") return;
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
const parts = [...document.querySelectorAll("details.part")], contents = document.querySelector("nav[aria-label=Sections] ul");
if (parts.length && contents) {
const item = document.createElement("li"), all = document.createElement("button");
all.type = "button"; all.textContent = "unfold all"; all.className = "plain";
all.addEventListener("click", () => {
const open = parts.some((part) => !part.open);
for (const part of parts) part.open = open;
all.textContent = open ? "fold all" : "unfold all";
});
item.append(all); contents.append(item);
}
const unfold = () => {
const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
const folded = target?.closest("details:not([open])");
if (folded) { folded.open = true; folded.scrollIntoView(); }
};
addEventListener("hashchange", unfold);
unfold();
addEventListener("beforeprint", () => {
for (const one of document.querySelectorAll("details:not(.numbers)")) one.open = true;
});

const age = document.getElementById("age");
const span = (ms) => { const minutes = Math.round(ms / 6e4); return minutes < 60 ? `${minutes} min` : minutes < 2880 ? `${Math.round(minutes / 60)} h` : `${Math.round(minutes / 1440)} d`; };
const grow = () => {
const passed = Date.now() - Number(age.dataset.at);
age.textContent = passed < 6e4 ? ", just now" : `, ${span(passed)} ago`;
if (!(passed > 3 * Number(age.dataset.interval))) return;
const verdict = document.querySelector(".verdict");
if (verdict.dataset.stale) return;
verdict.dataset.stale = "yes";
verdict.className = "verdict unknown";
verdict.querySelector(".sign").textContent = "Stale";
verdict.querySelector("span").prepend("nothing has come for three intervals; what was known then: ");
};
if (age) { grow(); setInterval(grow, 15e3); }

const tools = document.querySelector(".tools");
if (tools) {
tools.hidden = false;
const search = document.getElementById("search"), found = document.getElementById("found");
const rows = [...document.querySelectorAll(".server")].map((row) => [row, `${row.querySelector(".name").textContent} ${row.dataset.tags ?? ""} ${row.closest(".group").querySelector("h2").textContent}`.toLowerCase(), row.querySelector(".state").textContent]);
const groups = [...document.querySelectorAll(".group")].map((group) => [group, group.querySelector("details"), group.querySelector("details").open]);
const filter = () => {
const words = search.value.toLowerCase().split(/\s+/).filter(Boolean), level = tools.querySelector("input[name=level]:checked").value;
let shown = 0;
for (const [row, text, state] of rows) {
row.hidden = !(words.every((word) => text.includes(word)) && (!level || state === level));
shown += !row.hidden;
}
const all = !words.length && !level;
for (const [group, fold, open] of groups) {
group.hidden = !group.querySelector(".server:not([hidden])");
fold.open = all ? open : true;
}
found.textContent = all ? "" : `${shown} of ${rows.length}`;
};
tools.addEventListener("input", filter);
}

const tip = document.createElement("div"), at = document.createElement("div");
tip.id = "tip"; at.id = "at"; tip.hidden = at.hidden = true;
tip.setAttribute("role", "status");
document.body.append(at, tip);
const hide = () => { tip.hidden = at.hidden = true; };
const show = (head, lines, box, mark) => {
tip.replaceChildren();
const strong = document.createElement("strong");
strong.textContent = head;
tip.append(strong);
for (const [words, colour] of lines) {
const line = document.createElement("span");
if (colour) { const dot = document.createElement("i"); dot.style.background = `var(--${colour})`; line.append(dot); }
line.append(words);
tip.append(line);
}
tip.hidden = at.hidden = false;
for (const side of ["left", "top", "width", "height"]) at.style[side] = `${mark[side]}px`;
const own = tip.getBoundingClientRect();
const left = Math.max(4, Math.min(box.x - own.width / 2, document.documentElement.clientWidth - own.width - 4));
const top = box.top - own.height - 8 > 0 ? box.top - own.height - 8 : box.bottom + 8;
tip.style.left = `${left}px`; tip.style.top = `${top}px`;
};
const cache = new WeakMap();
const once = (element, make) => { if (!cache.has(element)) cache.set(element, make()); return cache.get(element); };

const cellsOf = (strip) => once(strip, () => strip.dataset.v.split(" ").flatMap((part) => {
const [word, times] = part.split("*");
return Array(Number(times ?? 1)).fill(word === "-" ? "not known" : word);
}));
const slotsOf = (strip) => {
const near = strip.closest("[data-x]") ?? document.querySelector(`[data-cells="${cellsOf(strip).length}"]`);
return near ? once(near, () => JSON.parse(near.dataset.x)) : [];
};
const nameOf = (strip) => strip.closest("tr, .row, .server")?.querySelector("th, .name")?.textContent.trim() ?? "";
const tellCell = (strip, number) => {
const cells = cellsOf(strip), whole = strip.getBoundingClientRect(), width = whole.width / cells.length;
const place = Math.max(0, Math.min(cells.length - 1, number));
strip.dataset.place = place;
const left = whole.left + place * width;
show(slotsOf(strip)[place] ?? "", [[`${nameOf(strip)} ${cells[place]}`.trim()]], { x: left + width / 2, top: whole.top, bottom: whole.bottom }, { left, top: whole.top - 1, width, height: whole.height + 2 });
};
const dataOf = (picture) => once(picture, () => JSON.parse(picture.dataset.points));
const number = (value) => value.toLocaleString("en", { maximumSignificantDigits: 4 });
const tellPoint = (picture, place) => {
const data = dataOf(picture), chart = picture.querySelector(".chart");
if (!chart || !data.at.length) return;
const whole = chart.getBoundingClientRect();
place = Math.max(0, Math.min(Math.min(data.at.length, data.x.length) - 1, place));
picture.dataset.place = place;
const unit = data.unit === "%" ? "%" : data.unit ? ` ${data.unit}` : "";
const lines = data.lines.filter((line) => line[2][place] !== null && line[2][place] !== undefined).map((line) => [`${line[0]} ${number(line[2][place])}${unit}`, line[1]]);
if (!lines.length) lines.push(["no data"]);
const ratio = data.at[place] / data.size[data.across ? 1 : 0];
if (data.across) {
const y = whole.top + ratio * whole.height;
show(data.x[place], lines, { x: whole.left + whole.width / 2, top: y - 8, bottom: y + 8 }, { left: whole.left, top: y, width: whole.width, height: 0 });
} else {
const x = whole.left + ratio * whole.width;
show(data.x[place], lines, { x, top: whole.top, bottom: whole.bottom }, { left: x, top: whole.top, width: 0, height: whole.height });
}
};
const nearest = (picture, event) => {
const data = dataOf(picture), whole = picture.querySelector(".chart").getBoundingClientRect();
const there = data.across ? ((event.clientY - whole.top) / whole.height) * data.size[1] : ((event.clientX - whole.left) / whole.width) * data.size[0];
let best = 0;
data.at.forEach((place, index) => { if (Math.abs(place - there) < Math.abs(data.at[best] - there)) best = index; });
return best;
};
document.addEventListener("pointermove", (event) => {
const strip = event.target.closest?.("[data-v]"), picture = event.target.closest?.("[data-points]");
if (strip) {
const whole = strip.getBoundingClientRect();
tellCell(strip, Math.floor(((event.clientX - whole.left) / whole.width) * cellsOf(strip).length));
} else if (picture?.querySelector(".chart")) tellPoint(picture, nearest(picture, event));
else if (!document.activeElement?.matches("[data-v], [data-points]")) hide();
});
addEventListener("scroll", hide, { capture: true, passive: true });

const reachable = (strip) => {
strip.setAttribute("tabindex", "0");
if (strip.hasAttribute("aria-hidden")) {
strip.removeAttribute("aria-hidden");
strip.setAttribute("role", "img");
strip.setAttribute("aria-label", nameOf(strip));
}
};
const homes = "table, .strips, .servers";
for (const home of document.querySelectorAll(homes)) {
const kinds = new Set();
for (const strip of home.querySelectorAll("[data-v]")) {
const kind = strip.parentElement.className;
if (!kinds.has(kind)) { kinds.add(kind); reachable(strip); }
}
}
document.addEventListener("focusin", (event) => {
const one = event.target;
if (!one.matches?.(":focus-visible")) return;
if (one.matches("[data-v]")) tellCell(one, Number(one.dataset.place ?? cellsOf(one).length - 1));
else if (one.matches("[data-points]")) tellPoint(one, Number(one.dataset.place ?? dataOf(one).at.length - 1));
});
document.addEventListener("focusout", hide);
document.addEventListener("keydown", (event) => {
const one = event.target;
if (event.key === "Escape") hide();
if (!one.matches?.("[data-v], [data-points]")) return;
const is = one.matches("[data-v]"), tell = is ? tellCell : tellPoint;
const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -1e9, End: 1e9 };
const across = !is && dataOf(one).across ? { ArrowUp: -1, ArrowDown: 1 } : {};
const step = steps[event.key] ?? across[event.key];
if (step !== undefined) { event.preventDefault(); tell(one, Number(one.dataset.place ?? 0) + step); return; }
if (!is || !["ArrowUp", "ArrowDown"].includes(event.key)) return;
event.preventDefault();
const all = [...one.closest(homes).querySelectorAll("[data-v]")].filter((other) => other.parentElement.className === one.parentElement.className && other.getClientRects().length);
const next = all[all.indexOf(one) + (event.key === "ArrowDown" ? 1 : -1)];
if (!next) return;
next.dataset.place = one.dataset.place ?? 0;
one.removeAttribute("tabindex");
reachable(next);
next.focus();
tellCell(next, Number(next.dataset.place));
});
})();
