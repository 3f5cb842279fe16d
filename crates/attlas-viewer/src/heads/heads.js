"use strict";
const data = JSON.parse(document.getElementById("heads").textContent);
const by = id => document.getElementById(id);
const create = (name, text, look) => {
  const element = document.createElement(name);
  if (text !== undefined) element.textContent = text;
  if (look) element.className = look;
  return element;
};
// a head: kind, layer, head, its classes as [measure, reason], its scores in the order of its kind's measures
const heads = data.heads.map(([kind, layer, head, named, scores]) => ({
  kind, layer, head, named, scores, name: "L" + layer + "H" + head,
  score: measure => { const place = data.kinds[kind].measures.indexOf(measure); return place < 0 ? undefined : scores[place]; },
}));
const title = (measure, kind) => (data.kinds[kind].name === "cross" && data.measures[measure].cross_title) || data.measures[measure].title;
const number = value => value === null || value === undefined ? "–" : Math.abs(value) < 10 ? value.toFixed(3) : value.toFixed(1);
const absent = score => typeof score === "number";
const isNamed = (head, measure) => head.named.some(([by]) => by === measure);

const option = (select, value, text) => { const one = create("option", text); one.value = value; select.append(one); };
option(by("kind"), "", "all");
data.kinds.forEach((kind, place) => option(by("kind"), place, kind.title));
option(by("measure"), "", "that of the class");
data.measures.forEach((measure, place) => option(by("measure"), place, measure.title));
option(by("class"), "", "all");
option(by("class"), "none", "named for nothing");
const classes = [...new Set(heads.filter(head => head.named.length).map(head => head.named[0][0]))].sort((a, b) => a - b);
classes.forEach(measure => option(by("class"), measure, data.measures[measure].title));

const shownMeasure = head => by("measure").value === "" ? head.named.length ? head.named[0][0] : undefined : Number(by("measure").value);
const shownScore = head => {
  const measure = shownMeasure(head), score = measure === undefined ? undefined : head.score(measure);
  return score === undefined || absent(score) ? undefined : score;
};
const part = place => head => { const score = shownScore(head); return score === undefined || score[place] === null ? undefined : score[place]; };
const columns = [
  { name: "Attention", of: head => head.kind, text: head => data.kinds[head.kind].name },
  { name: "Head", of: head => head.layer * 1e6 + head.head },
  { name: "Class", of: head => head.named.length ? title(head.named[0][0], head.kind) : undefined },
  { name: "Score", number: true, of: part(0), down: true },
  { name: "Baseline", number: true, of: part(1), down: true },
  { name: "95 % interval", number: true, of: part(2), down: true },
  { name: "Over", number: true, of: part(4), down: true },
  { name: "Why, and what else", of: head => head.named.length, down: true },
];
let sorted = { column: 0, down: false };
const open = new Set();

const compare = (a, b) => {
  const of = columns[sorted.column].of, x = of(a), y = of(b);
  // what has no value stands last in both directions
  if (x === undefined || y === undefined) return (x === undefined) - (y === undefined);
  const order = typeof x === "string" ? x.localeCompare(y, "en") : x - y;
  return sorted.down ? -order : order;
};
const matches = head => {
  const kind = by("kind").value, wanted = by("class").value, measure = shownMeasure(head);
  const find = by("find").value.trim().toLowerCase();
  const isOf = wanted === "" || (wanted === "none" ? !head.named.length : head.named.length && head.named[0][0] === Number(wanted));
  const words = (data.kinds[head.kind].title + " " + head.name + " " + head.named.map(([, reason]) => reason).join(" ")).toLowerCase();
  return (kind === "" || head.kind === Number(kind)) && isOf && (find === "" || words.includes(find))
    && (by("measure").value === "" || head.score(measure) !== undefined)
    && (!by("named").checked || (measure !== undefined && isNamed(head, measure)));
};
const interval = score => score[2] === null ? "–" : number(score[2]) + " to " + number(score[3]);

const over = (score, measure) => {
  const what = data.measures[measure].over;
  return score[4] + " " + (score[4] === 1 ? what.replace(/ies\b/, "y").replace(/s\b/, "") : what);
};

const details = head => {
  const row = create("tr", undefined, "open"), cell = create("td"), table = create("table"), top = create("tr");
  cell.colSpan = columns.length;
  ["Measure", "Score", "Baseline", "95 % interval", "Over", "Threshold", ""].forEach((name, place) => {
    const heading = create("th", name, place > 0 && place < 6 ? "number" : "");
    heading.scope = "col";
    top.append(heading);
  });
  table.append(top);
  data.kinds[head.kind].measures.forEach((measure, place) => {
    const line = create("tr"), score = head.scores[place], about = data.measures[measure];
    const name = create("td", title(measure, head.kind));
    name.title = about.says;
    line.append(name);
    if (absent(score)) {
      const why = create("td", data.absent[score], "soft");
      why.colSpan = 6;
      line.append(why);
    } else {
      [number(score[0]), number(score[1]), interval(score), over(score, measure), about.threshold === null ? "–" : String(about.threshold)]
        .forEach(text => line.append(create("td", text, "number")));
      const notes = [score[5] === null ? "" : about.variants[score[5]], isNamed(head, measure) ? "named" : ""];
      line.append(create("td", notes.filter(note => note).join(", "), "soft"));
    }
    table.append(line);
  });
  cell.append(table);
  row.append(cell);
  return row;
};
const line = head => {
  const row = create("tr"), score = shownScore(head), measure = shownMeasure(head);
  const name = create("td"), button = create("button", head.name);
  const key = head.kind + head.name;
  button.type = "button";
  button.setAttribute("aria-expanded", open.has(key));
  button.setAttribute("aria-label", head.name + ", " + data.kinds[head.kind].title + ": all scores");
  button.addEventListener("click", () => {
    if (open.delete(key)) row.nextSibling.remove();
    else { open.add(key); row.after(details(head)); }
    button.setAttribute("aria-expanded", open.has(key));
  });
  name.append(button);
  row.append(create("td", data.kinds[head.kind].name), name, create("td", head.named.length ? title(head.named[0][0], head.kind) : "–"));
  const raw = measure === undefined ? undefined : head.score(measure);
  if (raw !== undefined && absent(raw)) {
    const why = create("td", data.absent[raw], "soft");
    why.colSpan = 4;
    row.append(why);
  } else {
    const texts = score ? [number(score[0]), number(score[1]), interval(score), over(score, measure)] : ["–", "–", "–", "–"];
    texts.forEach(text => row.append(create("td", text, "number")));
  }
  const why = create("td");
  head.named.forEach(([, reason], place) => why.append(create("div", reason.replace(head.name + ": ", ""), place ? "soft" : "")));
  row.append(why);
  return open.has(key) ? [row, details(head)] : [row];
};

const show = () => {
  const shown = heads.filter(matches).sort((a, b) => compare(a, b) || a.kind - b.kind || a.layer - b.layer || a.head - b.head);
  const about = by("measure").value === "" ? undefined : data.measures[Number(by("measure").value)];
  by("says").textContent = about ? about.title + ": " + about.says + ". Unit: " + about.unit + ", over " + about.over
    + (about.baseline ? "; baseline: " + about.baseline : "") + (about.threshold === null ? "; it names no head." : "; a head is named from " + about.threshold + " on.") : "";
  by("count").textContent = shown.length + " of " + heads.length + " heads. A head's name opens all its scores; a column's name sorts.";
  by("rows").replaceChildren(...shown.flatMap(line));
  [...by("columns").children].forEach((heading, place) =>
    heading.setAttribute("aria-sort", place === sorted.column ? sorted.down ? "descending" : "ascending" : "none"));
  [...by("columns").querySelectorAll("button")].forEach((button, place) =>
    button.textContent = columns[place].name + (place === sorted.column ? sorted.down ? " ↓" : " ↑" : ""));
};
columns.forEach((column, place) => {
  const heading = create("th", undefined, column.number ? "number" : ""), button = create("button");
  heading.scope = "col";
  button.type = "button";
  button.addEventListener("click", () => {
    sorted = { column: place, down: place === sorted.column ? !sorted.down : Boolean(column.down) };
    show();
  });
  heading.append(button);
  by("columns").append(heading);
});
by("filter").addEventListener("input", show);
by("measure").addEventListener("change", () => {
  sorted = by("measure").value === "" ? { column: 0, down: false } : { column: 3, down: true };
  show();
});
by("filter").addEventListener("submit", event => event.preventDefault());
by("table").hidden = false;
show();
