"use strict";
const film = JSON.parse(document.getElementById("film").textContent);
const SVG = "http://www.w3.org/2000/svg";
const anchors = [[68,1,84],[72,40,120],[62,74,137],[49,104,142],[38,130,142],[31,158,137],[53,183,121],[109,205,89],[180,222,44],[253,231,37]];
const palette = Array.from({ length: 256 }, (_, i) => {
  const at = i / 255 * (anchors.length - 1), low = Math.min(Math.floor(at), anchors.length - 2);
  return anchors[low].map((value, channel) => Math.round(value + (anchors[low + 1][channel] - value) * (at - low)));
});
const bytes = text => Uint8Array.from(atob(text), character => character.charCodeAt(0));
const thousands = number => String(number).replace(/\B(?=(\d{3})+$)/g, ",");
const node = (name, attributes, text) => {
  const element = document.createElementNS(SVG, name);
  // a style that is set as text is inline, which the page's policy forbids
  for (const key in attributes) key === "style" ? element.style.cssText = attributes[key] : element.setAttribute(key, attributes[key]);
  if (text !== undefined) element.textContent = text;
  return element;
};
const cut = (text, n) => { const all = Array.from(text); return all.length > n ? all.slice(0, n - 1).join("") + "…" : text; };

const pair = document.getElementById("pair");
const arrow = document.createElement("span");
arrow.textContent = "  →  ";
pair.append(film.source_text, arrow, film.target_text);
document.getElementById("subtitle").textContent = film.heads.length + " heads, " + film.frames.length + " moments of a training" + (film.seams.length ? " in " + (film.seams.length + 1) + " runs." : ".");

const failed = document.getElementById("failed");
failed.textContent = "Not sound: " + (film.complaint || "");
failed.hidden = !film.complaint;

const bar = document.getElementById("bar").getContext("2d");
palette.forEach((colour, i) => { bar.fillStyle = "rgb(" + colour + ")"; bar.fillRect(i, 0, 1, 1); });

let widest = 0;
const images = film.heads.map(head => {
  const rows = head.rows.length, columns = head.columns.length;
  // cells no narrower than slanting labels are apart, and room for that of the last column
  const left = 74, top = 66, right = 40, size = 10, cell = Math.max(1.25 * size, Math.min(24, 200 / Math.max(rows, columns) + 4));
  const width = left + columns * cell + right, height = top + rows * cell + 6;
  widest = Math.max(widest, width);
  const svg = node("svg", { viewBox: "0 0 " + width + " " + height, role: "img", "aria-label": head.kind + " head " + head.name });
  const image = node("image", { x: left, y: top, width: columns * cell, height: rows * cell, preserveAspectRatio: "none", style: "image-rendering: pixelated" });
  svg.append(image);
  head.rows.forEach((label, i) => svg.append(node("text", { x: left - 5, y: top + (i + 0.5) * cell + 3.5, "font-size": size, "text-anchor": "end" }, cut(label, 11))));
  head.columns.forEach((label, i) => {
    const x = left + (i + 0.5) * cell + 3, y = top - 5;
    svg.append(node("text", { x, y, "font-size": size, transform: "rotate(-55 " + x + " " + y + ")" }, cut(label, 11)));
  });
  const figure = document.createElement("figure"), caption = document.createElement("figcaption"), name = document.createElement("b");
  name.textContent = head.name;
  caption.append(name, head.kind + ", changed by " + head.change.toFixed(2) + (head.problem ? "; fails its checks" : ""));
  figure.append(caption, svg);
  document.getElementById("heads").append(figure);
  const canvas = document.createElement("canvas");
  canvas.width = columns; canvas.height = rows;
  const context = canvas.getContext("2d");
  return head.maps.map(text => {
    const pixels = context.createImageData(columns, rows);
    bytes(text).forEach((weight, i) => { pixels.data.set(palette[weight], 4 * i); pixels.data[4 * i + 3] = 255; });
    context.putImageData(pixels, 0, 0);
    return canvas.toDataURL();
  }).map(url => () => image.setAttribute("href", url));
});
// cards so wide that labels keep nine tenths of their size, within the page
document.getElementById("heads").style.gridTemplateColumns = "repeat(auto-fill, minmax(min(100%, " + Math.max(280, Math.ceil(0.9 * widest) + 26) + "px), 1fr))";

const W = 440, H = 150, L = 38, B = 24;
const last = film.curve.length ? film.curve[film.curve.length - 1].step : 1;
const losses = film.curve.flatMap(point => point.valid === undefined ? [point.loss] : [point.loss, point.valid]);
const high = Math.max(1, ...losses), low = Math.max(0, Math.floor(Math.min(high - 1, ...losses)));
const x = step => L + (W - L - 8) * step / Math.max(1, last), y = loss => 8 + (H - B - 8) * (high - loss) / (high - low);
const plot = node("svg", { viewBox: "0 0 " + W + " " + H, role: "img", "aria-label": "loss over training" });
const line = (points, colour, width) => plot.append(node("polyline", { points: points.map(p => x(p[0]).toFixed(1) + "," + y(p[1]).toFixed(1)).join(" "), fill: "none", style: "stroke: var(" + colour + ")", "stroke-width": width }));
for (let tick = Math.ceil(low); tick <= high; tick += Math.max(1, Math.ceil((high - low) / 5))) {
  plot.append(node("line", { x1: L, x2: W - 8, y1: y(tick), y2: y(tick), style: "stroke: var(--line)" }));
  plot.append(node("text", { class: "soft", x: L - 6, y: y(tick) + 4, "font-size": 11, "text-anchor": "end" }, String(tick)));
}
plot.append(node("text", { class: "soft", x: W - 8, y: H - 6, "font-size": 11, "text-anchor": "end" }, "step " + thousands(last)));
plot.append(node("text", { class: "soft", x: L, y: H - 6, "font-size": 11 }, "nats per token: training, validation in bold"));
film.seams.forEach(step => plot.append(node("line", { x1: x(step), x2: x(step), y1: 4, y2: H - B, style: "stroke: var(--soft)", "stroke-width": 0.7, "stroke-dasharray": "3 3" })));
line(film.curve.map(point => [point.step, point.loss]), "--second", 1.2);
line(film.curve.filter(point => point.valid !== undefined).map(point => [point.step, point.valid]), "--accent", 2.5);
const marker = node("line", { y1: 4, y2: H - B, style: "stroke: var(--ink)", "stroke-width": 1.5 });
plot.append(marker);
document.getElementById("curve").append(plot);

// the curves: one panel for each kind and measure, the slider's moment as an upright line in all of them
const curves = film.curves;
const moments = curves ? curves.charts.map(chart => {
  const W = 520, H = 176, left = 34, right = 176, top = 8, below = 34, size = 11, pitch = 14;
  const [low, high] = chart.range, width = W - left - right, height = H - top - below;
  const x = place => left + place * width;
  const y = value => top + height * (1 - Math.min(1, Math.max(0, (value - low) / (high - low || 1))));
  const svg = node("svg", { viewBox: "0 0 " + W + " " + H, role: "img", "aria-label": chart.title });
  const stroke = (x1, y1, x2, y2, style, stroke_width) => node("line", { x1, y1, x2, y2, style: "stroke: " + style, "stroke-width": stroke_width });
  for (let tick = 0; tick <= 4; tick++) {
    const value = low + (high - low) * tick / 4;
    svg.append(stroke(left, y(value), left + width, y(value), "var(--line)", 1));
    svg.append(node("text", { class: "soft", x: left - 5, y: y(value) + 4, "font-size": size, "text-anchor": "end" }, String(Number(value.toFixed(2)))));
  }
  curves.seams.forEach(place => svg.append(stroke(x(place), top, x(place), top + height, "var(--line)", 1)));
  let free = -1;
  curves.ticks.forEach(([place, text], i) => {
    const half = text.length * 3.2, is_last = i === curves.ticks.length - 1;
    if (x(place) - half < free || !is_last && i > 0 && x(place) + half + 6 > x(1) - curves.ticks[curves.ticks.length - 1][1].length * 3.2) return;
    svg.append(node("text", { class: "soft", x: x(place), y: top + height + 14, "font-size": size, "text-anchor": "middle" }, text));
    free = x(place) + half + 6;
  });
  svg.append(node("text", { class: "soft", x: left, y: H - 5, "font-size": size }, curves.axis));
  const now = stroke(left, top, left, top + height, "var(--ink)", 1.5);
  const looks = { plain: ["var(--grey)", 1], faint: ["var(--line)", 1], dashed: ["var(--ink)", 1], dotted: ["var(--soft)", 1.2] };
  const labels = [];
  chart.lines.forEach(line => {
    const [color, thick] = looks[line.stroke] || ["var(--color" + line.color + ")", 2];
    const dashes = { dashed: "6 4", dotted: "1.5 3" }[line.stroke];
    let points = [], end;
    const draw = () => {
      const more = dashes ? { "stroke-dasharray": dashes } : {};
      svg.append(node("polyline", { points: points.join(" "), fill: "none", style: "stroke: " + color, "stroke-width": thick, ...more }));
      points = [];
    };
    line.values.forEach((value, i) => {
      if (value === null) return draw();
      end = [x(curves.places[i]), y(value)];
      points.push(end.map(number => number.toFixed(1)).join(","));
    });
    draw();
    [[line.begins, color, "var(--sheet)"], [line.ends, "var(--sheet)", color]].forEach(([mark, fill, edge]) => {
      if (mark === null || line.values[mark] === null) return;
      svg.append(node("rect", { x: x(curves.places[mark]) - 4, y: y(line.values[mark]) - 4, width: 8, height: 8, style: "fill: " + fill + "; stroke: " + edge, "stroke-width": 1.5 }));
    });
    if (line.label && end) labels.push({ line, color, end, y: end[1] });
  });
  labels.sort((a, b) => a.y - b.y);
  labels.reduce((least, label) => (label.y = Math.max(label.y, least)) + pitch, top);
  labels.reduceRight((most, label) => (label.y = Math.min(label.y, most)) - pitch, top + height + 8);
  labels.forEach(label => {
    svg.append(node("polyline", { points: [label.end, [left + width + 3, label.end[1]], [left + width + 15, label.y]].join(" "), fill: "none", style: "stroke: " + label.color, "stroke-width": 1 }));
    svg.append(node("text", { class: label.line.color === null ? "soft" : "", x: left + width + 18, y: label.y + 4, "font-size": size }, cut(label.line.label, 28)));
  });
  svg.append(now);
  const figure = document.createElement("figure"), caption = document.createElement("figcaption"), name = document.createElement("b");
  name.textContent = chart.title;
  caption.append(name);
  figure.append(caption, svg);
  document.getElementById("charts").append(figure);
  return index => { now.setAttribute("x1", x(curves.places[index])); now.setAttribute("x2", x(curves.places[index])); };
}) : [];
document.getElementById("measures").hidden = !curves;
(curves ? curves.captions : []).forEach(text => {
  const paragraph = document.createElement("p");
  paragraph.textContent = text;
  document.getElementById("captions").append(paragraph);
});

const slider = document.getElementById("slider"), button = document.getElementById("play");
slider.max = String(Math.max(0, film.frames.length - 1));
let timer = 0;
const show = index => {
  slider.value = String(index);
  const frame = film.frames[index];
  if (!frame) return;
  images.forEach(image => image[index]());
  moments.forEach(moment => moment(index));
  const at = film.curve.filter(point => point.step <= frame.step).pop();
  document.getElementById("now").textContent = "step " + thousands(frame.step) + (at ? ", loss " + at.loss.toFixed(2) : "");
  marker.setAttribute("x1", x(frame.step));
  marker.setAttribute("x2", x(frame.step));
};
const pause = () => { clearInterval(timer); timer = 0; button.textContent = "Play"; };
const play = () => {
  if (Number(slider.value) === film.frames.length - 1) show(0);
  button.textContent = "Pause";
  timer = setInterval(() => Number(slider.value) < film.frames.length - 1 ? show(Number(slider.value) + 1) : pause(), 700);
};
const toggle = () => timer ? pause() : play();
button.addEventListener("click", toggle);
slider.addEventListener("input", () => { pause(); show(Number(slider.value)); });
document.addEventListener("keydown", event => {
  if (event.key === " " && event.target !== button) { event.preventDefault(); toggle(); }
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (step && event.target !== slider) { pause(); show(Math.min(film.frames.length - 1, Math.max(0, Number(slider.value) + step))); }
});
show(0);
