"use strict";
// The report's page. Text from the dataset enters the page as text only (textContent, setAttribute), never as HTML.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { masks, cases, structures, kinds, texts, flags } = data;
  const total = masks.structure.length;
  const chosen = new Uint8Array(total);
  data.chosen.forEach((i) => { chosen[i] = 1; });
  const pictured = new Set(data.pictured);
  const ROW_PX = 32;
  const BINS = 25;
  const GLYPHS = { accept: "\u2713", reject: "\u2717" };

  const byId = (id) => document.getElementById(id);
  const words = (name) => name.replaceAll("_", " ");
  const fixed = (value, digits) => (value === null ? "\u2013" : value.toFixed(digits));
  const plain = (value) => value.toLocaleString("en");
  const ml = (value) => (value === null ? "\u2013" : value >= 100 ? plain(Math.round(value)) : Number(value.toPrecision(3)) + "");

  function make(tag, attributes = {}, ...children) {
    const svg = make.svgTags.has(tag);
    const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children.filter((child) => child !== null));
    return node;
  }
  make.svgTags = new Set(["svg", "path", "rect", "line", "circle", "image", "text", "g"]);

  const structureOf = (i) => structures[masks.structure[i]];
  const caseOf = (i) => cases[masks.case[i]].id;
  const kindOf = (i) => data.kindNames[masks.kind[i]];

  // ------------------------------------------------------------------ decisions
  // Kept by this browser under the audit's id; those merged into the audit come with the page, and the later one holds.
  const STORE = `segae-audit-${data.audit}`;
  const keyOf = (i) => JSON.stringify([caseOf(i), structureOf(i), masks.source[i]]);
  const numberOf = new Map();
  for (let i = 0; i < total; i++) numberOf.set(keyOf(i), i);
  const decisions = new Map();

  function warn(text) {
    byId("warning").textContent = text;
    byId("warning").hidden = false;
  }
  function readDecisions() {
    let kept = {};
    try {
      kept = JSON.parse(localStorage.getItem(STORE) || "{}");
      localStorage.setItem(`${STORE}-reviewer`, localStorage.getItem(`${STORE}-reviewer`) || "");
      byId("reviewer").value = localStorage.getItem(`${STORE}-reviewer`);
    } catch {
      warn("This browser keeps nothing for this page: export your decisions before you close it.");
    }
    for (const [key, entry] of [...data.decisions, ...Object.entries(kept)]) {
      const i = numberOf.get(key);
      if (i === undefined) continue;
      const known = decisions.get(i);
      if (!known || known.time <= entry.time) decisions.set(i, entry);
    }
  }
  function keepDecisions() {
    const kept = {};
    for (const [i, entry] of decisions) kept[keyOf(i)] = entry;
    try {
      localStorage.setItem(STORE, JSON.stringify(kept));
    } catch {
      warn("This browser could not keep the decision: export your decisions before you close the page.");
    }
  }
  function decide(i, change) {
    const entry = { decision: "", note: "", ...decisions.get(i), ...change };
    entry.time = new Date().toISOString();
    entry.reviewer = byId("reviewer").value.trim();
    // An undone decision is kept: it has to undo the one that was merged before.
    decisions.set(i, entry);
    keepDecisions();
    drawProgress();
    drawRows();
  }
  const decisionOf = (i) => decisions.get(i)?.decision || "";
  const noteOf = (i) => decisions.get(i)?.note || "";

  // ------------------------------------------------------------------ export
  const COLUMNS = ["case", "structure", "source", "decision", "note", "reviewer", "time", "dice", "fingerprint"];
  function exported() {
    return [...decisions].sort(([a], [b]) => a - b).map(([i, entry]) => ({
      case: caseOf(i), structure: structureOf(i), source: masks.source[i], decision: entry.decision, note: entry.note,
      reviewer: entry.reviewer || "", time: entry.time, dice: masks.dice[i], fingerprint: cases[masks.case[i]].fingerprint,
    }));
  }
  // A spreadsheet would run a cell that begins with these; an apostrophe before it is taken away when segae reads it.
  const cell = (value) => {
    let text = value === null ? "" : String(value);
    if (typeof value === "string" && /^[=+\-@\t\r']/.test(text)) text = `'${text}`;
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const asCsv = () => [COLUMNS, ...exported().map((row) => COLUMNS.map((name) => row[name]))]
    .map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
  const asJson = () => JSON.stringify({ segae_decisions: 1, audit: data.audit, decisions: exported() }, null, 1) + "\n";
  function download(name, text, type) {
    if (!byId("reviewer").value.trim() && !confirm("No reviewer is named. Export the decisions without a name?")) {
      byId("reviewer").focus();
      return;
    }
    const link = make("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  // ------------------------------------------------------------------ the list
  const SORTS = {
    place: (i) => i, case: (i) => caseOf(i), structure: (i) => structureOf(i),
    dice: (i) => masks.dice[i] ?? 2, kind: (i) => masks.kind[i], volume: (i) => masks.volume[i] ?? -1,
    decision: (i) => decisionOf(i) || (noteOf(i) ? "z" : "zz"),
  };
  const HEAD = [
    ["place", "#"], ["case", "Case"], ["structure", "Structure"], ["dice", "Dice"], ["kind", "Finding"],
    ["volume", "ml"], ["decision", "\u2713"],
  ];
  const haystack = new Array(total);
  for (let i = 0; i < total; i++) {
    haystack[i] = `${caseOf(i)} ${structureOf(i)} ${words(structureOf(i))} ${kinds[kindOf(i)]} ${masks.name[i]}`.toLowerCase();
  }
  let shown = [];
  let at = -1; // place in `shown`
  let sort = { by: "place", down: false };
  const filter = { text: "", structure: "", kind: "", flag: "", decision: "", chosen: true };

  function applyFilter(keep = current()) {
    const wanted = filter.text.toLowerCase().split(/\s+/).filter(Boolean);
    const structure = filter.structure === "" ? -1 : Number(filter.structure);
    const kind = filter.kind === "" ? -1 : Number(filter.kind);
    const flag = filter.flag === "" ? -1 : Number(filter.flag);
    shown = [];
    for (let i = 0; i < total; i++) {
      if (filter.chosen && !chosen[i]) continue;
      if (structure >= 0 && masks.structure[i] !== structure) continue;
      if (kind >= 0 && masks.kind[i] !== kind) continue;
      if (flag >= 0 && !masks.flags[i].some(([name]) => name === flag)) continue;
      if (filter.decision && !hasDecision(i, filter.decision)) continue;
      if (wanted.length && !wanted.every((word) => haystack[i].includes(word))) continue;
      shown.push(i);
    }
    if (sort.by !== "place" || sort.down) {
      const value = SORTS[sort.by];
      const values = new Map(shown.map((i) => [i, value(i)]));
      const order = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
      shown.sort((a, b) => (sort.down ? -1 : 1) * order(values.get(a), values.get(b)) || a - b);
    }
    byId("count").textContent = `${plain(shown.length)} of ${plain(total)}`;
    byId("sizer").style.height = `${shown.length * ROW_PX}px`;
    byId("grid").setAttribute("aria-rowcount", shown.length + 1);
    const again = shown.indexOf(keep);
    if (again < 0) byId("scroll").scrollTop = 0;
    select(again >= 0 ? again : shown.length ? 0 : -1);
  }
  function hasDecision(i, which) {
    if (which === "open") return decisionOf(i) === "";
    if (which === "note") return noteOf(i) !== "";
    return decisionOf(i) === which;
  }
  const current = () => (at >= 0 ? shown[at] : -1);

  const pool = [];
  function newRow() {
    const bar = make("i");
    const cells = {
      place: make("span", { class: "place number", role: "gridcell" }), case: make("span", { role: "gridcell" }),
      structure: make("span", { role: "gridcell" }), number: make("span"), kind: make("span", { role: "gridcell" }),
      volume: make("span", { class: "volume number", role: "gridcell" }),
      decision: make("span", { class: "decision", role: "gridcell" }),
    };
    const node = make("div", { class: "row", role: "row" }, cells.place, cells.case, cells.structure,
      make("span", { class: "dice", role: "gridcell" }, cells.number, bar), cells.kind, cells.volume, cells.decision);
    const row = { node, bar, cells, place: -1 };
    node.addEventListener("click", () => select(row.place));
    byId("sizer").append(node);
    return row;
  }
  // Only the rows in sight exist; scrolling moves and refills them.
  function drawRows() {
    const scroll = byId("scroll");
    const first = Math.max(0, Math.floor(scroll.scrollTop / ROW_PX) - 4);
    const needed = Math.min(shown.length - first, Math.ceil(scroll.clientHeight / ROW_PX) + 8);
    while (pool.length < needed) pool.push(newRow());
    pool.forEach((row, n) => {
      row.node.hidden = n >= needed;
      if (n >= needed) return;
      row.place = first + n;
      const i = shown[row.place];
      row.node.style.transform = `translateY(${row.place * ROW_PX}px)`;
      row.node.setAttribute("aria-rowindex", row.place + 2);
      row.node.setAttribute("aria-selected", row.place === at);
      row.cells.place.textContent = i + 1;
      row.cells.case.textContent = row.cells.case.title = caseOf(i);
      row.cells.structure.textContent = row.cells.structure.title = words(structureOf(i));
      row.cells.number.textContent = fixed(masks.dice[i], 2);
      row.bar.style.backgroundSize = `${100 * (masks.dice[i] ?? 0)}% 100%`;
      row.cells.kind.textContent = kinds[kindOf(i)];
      row.cells.volume.textContent = ml(masks.volume[i]);
      const decision = decisionOf(i);
      row.cells.decision.textContent = GLYPHS[decision] || (noteOf(i) ? "\u270e" : "");
      row.cells.decision.dataset.decision = decision;
      row.cells.decision.setAttribute("aria-label", decision || "undecided");
    });
  }
  function drawHead() {
    byId("head").replaceChildren(...HEAD.map(([by, label]) => make(
      "span",
      { role: "columnheader", class: `${by === "place" || by === "volume" ? `${by} number` : ""}`, "aria-sort": sort.by === by ? (sort.down ? "descending" : "ascending") : false },
      make("button", {
        "aria-label": `sort by ${by}`,
        onclick: () => {
          sort = { by, down: sort.by === by && !sort.down };
          drawHead();
          applyFilter();
        },
      }, label + (sort.by === by ? (sort.down ? " \u25be" : " \u25b4") : "")),
    )));
  }
  function select(place) {
    at = place;
    if (place >= 0) {
      const scroll = byId("scroll");
      const top = place * ROW_PX;
      if (top < scroll.scrollTop) scroll.scrollTop = top;
      else if (top + ROW_PX > scroll.scrollTop + scroll.clientHeight) scroll.scrollTop = top + ROW_PX - scroll.clientHeight;
    }
    drawRows();
    drawDetail();
  }
  function nextUndecided() {
    for (let step = 1; step <= shown.length; step++) {
      const place = (at + step) % shown.length;
      if (!decisionOf(shown[place])) return select(place);
    }
    return undefined;
  }

  // ------------------------------------------------------------------ one mask
  let bare = false;
  function drawDetail() {
    const i = current();
    const detail = byId("detail");
    if (i < 0) {
      detail.replaceChildren(make("p", { class: "nothing" }, "No mask fits the filters."));
      return;
    }
    const kind = kindOf(i);
    const picture = pictureOf(i);
    detail.classList.toggle("bare", bare);
    detail.replaceChildren(
      make("div", { class: "name" },
        make("h2", {}, words(structureOf(i)) || "whole case"), make("span", {}, caseOf(i)),
        make("span", { class: "quiet" }, `${plain(i + 1)} of ${plain(total)} in order of review`)),
      make("div", { class: `finding ${kind === "looks_right" ? "right" : ""}` },
        make("b", {}, kinds[kind]), texts[masks.sentence[i]]),
      decideBar(i),
      ...(picture && !picture.error ? drawPicture(picture) : [make("p", { class: "nothing" }, noPicture(i, picture))]),
      masks.dice[i] === null ? "" : drawNumbers(i),
      masks.flags[i].length ? make("ul", { class: "signs" }, ...masks.flags[i].map(([name, text]) => make(
        "li", {}, make("code", {}, `${flags[name]} `), texts[text]))) : "",
      make("div", { class: "paths" }, make("div", {}, `mask: ${masks.source[i] || "none"}`),
        make("div", {}, `image: ${cases[masks.case[i]].image || "none"}`), ...viewers(i)),
    );
    detail.scrollTop = 0;
  }
  // Command lines that open image and mask in a viewer, to be copied: a page cannot start a program.
  function viewers(i) {
    const image = cases[masks.case[i]].image;
    const mask = texts[masks.path[i]];
    if (!image || !mask) return [];
    const quoted = (path) => `'${path.replaceAll("'", "'\\''")}'`;
    const lines = { "ITK-SNAP": `itksnap -g ${quoted(image)} -s ${quoted(mask)}`, "3D Slicer": `Slicer ${quoted(image)} ${quoted(mask)}` };
    return Object.entries(lines).map(([name, line]) => make("div", { class: "viewer" },
      make("button", { onclick: (event) => navigator.clipboard?.writeText(line).then(() => { event.target.textContent = "copied"; }) }, "copy"),
      ` ${name}: `, make("code", {}, line)));
  }
  function pictureOf(i) {
    return pictured.has(i) ? JSON.parse(byId(`picture-${i}`).textContent) : null;
  }
  function noPicture(i, picture) {
    if (picture) return `No picture: ${picture.error}`;
    if (masks.dice[i] === null) return "No picture: there is no mask to show.";
    return `No picture of this mask: ${plain(pictured.size)} masks have one. --budget asks for more.`;
  }
  function decideBar(i) {
    const button = (decision, label, key) => make("button", {
      "data-decision": decision, "aria-pressed": decisionOf(i) === decision, onclick: () => decideHere(decision),
    }, label, make("kbd", {}, key));
    const note = make("textarea", { id: "note", placeholder: "note (N)", "aria-label": "Note", rows: 1 });
    note.value = noteOf(i);
    note.addEventListener("change", () => { if (note.value !== noteOf(i)) decide(i, { note: note.value }); });
    return make("div", { class: "decide" }, button("accept", "\u2713 Accept", "A"), button("reject", "\u2717 Reject", "R"), note);
  }
  function decideHere(decision) {
    const i = current();
    if (i < 0) return;
    const undo = decisionOf(i) === decision || decision === "";
    decide(i, { decision: undo ? "" : decision });
    if (!undo && at + 1 < shown.length) select(at + 1);
    else drawDetail();
  }

  function drawPicture(picture) {
    const figures = picture.planes.map((plane) => {
      const s = plane.side_mm;
      const tick = s / 22;
      const [x, y] = plane.cross_mm;
      const axial = plane.name === "axial";
      const left = plane.name === "sagittal" ? "front" : "R";
      const top = axial ? "front" : "head";
      const svg = make("svg", { viewBox: `0 0 ${s} ${s}`, role: "img", "aria-label": `${plane.name} plane` },
        make("image", { href: plane.src, width: s, height: s, preserveAspectRatio: "none" }),
        ...["given", "expected", "reference"].filter((which) => plane[which]).flatMap((which) => [
          make("path", { d: plane[which], class: "outline halo" }), make("path", { d: plane[which], class: `outline ${which}` })]),
        ...[[x, 0, x, tick], [x, s - tick, x, s], [0, y, tick, y], [s - tick, y, s, y]].map(([x1, y1, x2, y2]) =>
          make("line", { x1, y1, x2, y2, class: "cross" })),
        make("text", { x: s * 0.02, y: s * (Math.abs(y / s - 0.5) < 0.08 ? 0.4 : 0.53), "font-size": s * 0.042, "stroke-width": s * 0.008, class: "side" }, left),
        make("text", { x: s * (Math.abs(x / s - 0.5) < 0.1 ? 0.62 : 0.5), y: s * 0.055, "font-size": s * 0.042, "stroke-width": s * 0.008, "text-anchor": "middle", class: "side" }, top));
      for (const [mx, my, text, concerned] of plane.marks || []) {
        const kind = concerned ? "spot concerned" : "spot";
        svg.append(
          make("circle", { cx: mx, cy: my, r: s * 0.01, "stroke-width": s * 0.003, class: kind }),
          make("text", { x: mx + s * 0.018, y: my + s * 0.014, "font-size": s * 0.04, "stroke-width": s * 0.008, class: kind }, text));
      }
      const all = (plane.marks || []).length > 0;
      const caption = axial ? `axial, slice ${picture.slice}` : all ? `${plane.name}, all structures` : plane.name;
      return make("figure", {}, svg, make("figcaption", {}, caption));
    });
    const sample = (which) => make("svg", { viewBox: "0 0 30 8", "aria-hidden": "true" },
      make("path", { d: "M0,4h30", class: `outline ${which}` }));
    const expects = picture.planes.some((plane) => plane.expected) || !picture.expects_none;
    return [
      make("div", { class: "planes" }, ...figures),
      make("div", { class: "legend" },
        make("span", {}, sample("given"), "the mask (solid)"),
        expects ? make("span", {}, sample("expected"), "where segae expects it (dashed)") : "",
        picture.planes.some((plane) => plane.reference) ? make("span", {}, sample("reference"), "the reference (dotted)") : "",
        make("span", {}, `${Math.round(picture.planes[0].side_mm)} mm wide`), make("span", {}, "O: outlines off and on")),
      drawCurves(picture),
    ];
  }
  function drawCurves(picture) {
    const { index, area, expected, dice } = picture.slices;
    const W = 640, L = 46, R = 8, UP = 60, DOWN = 64, GAP = 22, T = 14;
    const low = Math.min(...index), high = Math.max(...index);
    // From feet (left) to head (right), whichever way the file counts.
    const x = (n) => L + ((index[n] - index[0]) / ((index.at(-1) - index[0]) || 1)) * (W - L - R);
    const most = Math.max(1e-6, ...area, ...expected.filter((v) => v !== null));
    const yDice = (v) => T + UP * (1 - v);
    const yArea = (v) => T + UP + GAP + DOWN * (1 - v / most);
    const line = (values, y) => {
      let d = "";
      let pen = "M";
      values.forEach((v, n) => {
        if (v === null) { pen = "M"; return; }
        d += `${pen}${x(n).toFixed(1)},${y(v).toFixed(1)}`;
        pen = "L";
      });
      return d;
    };
    const here = index.indexOf(picture.slice);
    const base = yArea(0);
    return make("div", { class: "curves" }, make("svg", { viewBox: `0 0 ${W} ${T + UP + GAP + DOWN + 18}`, role: "img",
      "aria-label": "Predicted Dice and area slice by slice" },
      make("text", { x: L, y: 10 }, "predicted Dice"), make("text", { x: L, y: T + UP + 16 }, "area, cm\u00b2"),
      ...[[yDice(1), "1"], [yDice(0), "0"], [yArea(most), ml(most / 100)], [base, "0"]].flatMap(([y, label]) => [
        make("line", { x1: L, x2: W - R, y1: y, y2: y, class: "axis" }),
        make("text", { x: L - 6, y: y + 4, "text-anchor": "end" }, label)]),
      here >= 0 ? make("line", { x1: x(here), x2: x(here), y1: T, y2: base, class: "here" }) : null,
      make("path", { d: `${line(area, yArea)}L${x(index.length - 1).toFixed(1)},${base}L${x(0).toFixed(1)},${base}z`, class: "given area" }),
      make("path", { d: line(area, yArea), class: "given", "fill-opacity": 0 }),
      make("path", { d: line(expected, yArea), class: "expected" }),
      make("path", { d: line(dice, yDice), class: "score" }),
      ...dice.map((v, n) => (v === null ? null : make("circle", { cx: x(n), cy: yDice(v), r: n === here ? 4 : 2.4 }))),
      make("text", { x: L, y: base + 14 }, `slice ${index[0]}, towards the feet`),
      make("text", { x: W - R, y: base + 14, "text-anchor": "end" }, `slice ${index.at(-1)}, towards the head`),
    ), low === high ? make("p", { class: "quiet" }, "One slice only.") : "");
  }
  function drawNumbers(i) {
    const number = (value, label, title) => make("div", { title: title || "" }, make("b", {}, value), make("span", {}, label));
    const percentile = masks.percentile[i];
    return make("div", { class: "numbers" },
      number(fixed(masks.dice[i], 2), "predicted Dice"),
      ...(masks.adapted[i] === null ? [] : [
        number(fixed(masks.adapted[i], 2), "the adapted judge", "A model that learned from this dataset's other cases"),
        number(fixed(masks.judge[i], 2), "the judge before adaptation")]),
      ...(masks.reference[i] === null ? [] : [
        masks.adapted[i] === null ? number(fixed(masks.judge[i], 2), "the judge alone") : "",
        number(fixed(masks.reference[i], 2), "Dice with the reference", "A reference is not the truth: the mask can be right against it")]),
      number(fixed(masks.precision[i], 2), "precision", "Share of the mask that is right: low where it is too large"),
      number(fixed(masks.recall[i], 2), "recall", "Share of the structure that is covered: low where it is too small"),
      number(`${ml(masks.volume[i])}`, "ml"),
      number(percentile === null ? "\u2013" : `${Math.round(percentile)} %`, "of its kind are worse", "Share of this structure's masks with a lower Dice"),
      number(fixed(masks.suspicion[i], 1), "suspicion", "Robust standard deviations below its structure's usual Dice, and signs"));
  }

  // ------------------------------------------------------------------ overview
  function drawProgress() {
    const done = data.chosen.filter((i) => decisionOf(i)).length;
    byId("progress").max = Math.max(1, data.chosen.length);
    byId("progress").value = done;
    byId("progress-text").textContent = `${plain(done)} of ${plain(data.chosen.length)} reviewed`;
  }
  function counts(of) {
    const found = new Map();
    for (let i = 0; i < total; i++) for (const name of of(i)) found.set(name, (found.get(name) || 0) + 1);
    return found;
  }
  function bars(box, entries, choose) {
    const most = Math.max(1, ...entries.map(([, , n]) => n));
    byId(box).replaceChildren(...entries.map(([value, label, n]) => make(
      "button", { onclick: () => choose(value) },
      make("span", {}, label, make("i", { style: `width:${Math.max(0.5, (100 * n) / most)}%` })), make("b", {}, plain(n)))));
    if (!entries.length) byId(box).replaceChildren(make("p", { class: "quiet" }, "none"));
  }
  function look(change) {
    Object.assign(filter, { text: "", structure: "", kind: "", flag: "", decision: "", chosen: false }, change);
    showFilter();
    applyFilter(-1);
    show("review");
  }
  function drawOverview() {
    const list = data.chosen.length;
    const failed = masks.severity.filter((s) => s === "failed").length;
    const wrong = masks.severity.filter((s) => s === "wrong").length;
    const tile = (n, label, act, more = "") => make(act ? "button" : "div", { class: `tile ${more}`, ...(act ? { onclick: act } : {}) },
      make("b", {}, plain(n)), make("span", {}, label));
    byId("tiles").replaceChildren(
      tile(list, "to review, worst first \u2192", () => look({ chosen: true }), "go"),
      tile(total, "masks", () => look({})), tile(data.caseCount, "cases"), tile(structures.filter(Boolean).length, "structures"),
      tile(wrong, "with a grave flag"), tile(failed, "could not be scored"));
    const byKind = counts((i) => [masks.kind[i]]);
    bars("kinds", [...byKind].sort((a, b) => a[0] - b[0]).map(([k, n]) => [k, kinds[data.kindNames[k]], n]), (k) => look({ kind: String(k) }));
    const byFlag = counts((i) => new Set(masks.flags[i].map(([name]) => name)));
    bars("flags", [...byFlag].sort((a, b) => b[1] - a[1]).map(([f, n]) => [f, words(flags[f]), n]), (f) => look({ flag: String(f) }));
    drawStructures();
    drawSummary(byKind, failed);
  }
  // How good is this dataset, in a sentence.
  function drawSummary(byKind, failed) {
    const count = (...names) => names.reduce((sum, name) => sum + (byKind.get(data.kindNames.indexOf(name)) || 0), 0);
    const scored = dices.flat().length;
    const good = count("looks_right", "usual");
    const middle = structures.map((name, s) => ({ name, value: medianOf(dices[s]) }))
      .filter((row) => row.name && dices[structures.indexOf(row.name)].length > 3).sort((a, b) => a.value - b.value)[0];
    byId("summary").textContent = scored === 0 ? "No mask could be scored." :
      `${plain(good)} of ${plain(scored)} scored masks look right or as usual (${Math.round(100 * good / scored)} %), ` +
      `${plain(scored - good)} are worth a look${failed ? `, and ${plain(failed)} could not be scored` : ""}. ` +
      `Median predicted Dice ${medianOf(dices.flat().sort((a, b) => a - b)).toFixed(2)}` +
      `${middle ? `, lowest for ${words(middle.name)} (${middle.value.toFixed(2)})` : ""}.`;
  }
  const medianOf = (values) => (values.length ? (values[(values.length - 1) >> 1] + values[values.length >> 1]) / 2 : null);
  const dices = structures.map(() => []);
  for (let i = 0; i < total; i++) if (masks.dice[i] !== null) dices[masks.structure[i]].push(masks.dice[i]);
  dices.forEach((values) => values.sort((a, b) => a - b));
  function drawStructures() {
    const limit = Number(byId("threshold").value);
    byId("threshold-text").textContent = limit.toFixed(2);
    const rows = structures.map((name, s) => {
      const values = dices[s];
      const below = values.filter((v) => v < limit).length;
      const n = values.length;
      return { name, s, n, below, share: n ? below / n : 0, median: medianOf(values) };
    }).filter((row) => row.name && row.n);
    const order = byId("structure-order").value;
    rows.sort((a, b) => (order === "below" ? b.share - a.share || b.below - a.below : order === "median" ? a.median - b.median : 0)
      || (a.name < b.name ? -1 : 1));
    byId("structures").replaceChildren(
      make("div", { class: "labels" }, make("span", {}, "structure"), make("span", {}, "masks"),
        make("span", { class: "ticks" }, make("span", {}, "0"), make("span", {}, "0.5"), make("span", {}, "1")),
        make("span", {}, "median"), make("span", {}, `below ${limit.toFixed(2)}`)),
      ...rows.map((row) => make("button", { onclick: () => look({ structure: String(row.s) }) },
        make("span", {}, words(row.name)), make("span", {}, plain(row.n)), histogram(dices[row.s], limit),
        make("span", {}, fixed(row.median, 2)),
        make("span", { class: "share" }, make("i", { style: `width:${(60 * row.share).toFixed(1)}%` }),
          make("span", {}, `${row.below} (${Math.round(100 * row.share)} %)`)))));
  }
  function histogram(values, limit) {
    const bins = new Array(BINS).fill(0);
    values.forEach((v) => { bins[Math.min(BINS - 1, Math.floor(v * BINS))]++; });
    const most = Math.max(...bins);
    const path = { all: "", low: "" };
    bins.forEach((n, b) => {
      if (!n) return;
      // The square root keeps a single bad mask among thousands in sight.
      const h = 22 * Math.sqrt(n / most);
      path[(b + 0.5) / BINS < limit ? "low" : "all"] += `M${b * 10 + 0.7},24v${(-h).toFixed(1)}h8.6v${h.toFixed(1)}z`;
    });
    return make("svg", { viewBox: `0 0 ${BINS * 10} 26`, preserveAspectRatio: "none", class: "histogram", "aria-hidden": "true" },
      make("path", { d: path.all, class: "all" }), make("path", { d: path.low, class: "low" }),
      make("line", { x1: limit * BINS * 10, x2: limit * BINS * 10, y1: 0, y2: 26 }),
      make("path", { d: `M0,24.5h${BINS * 10}v.8h-${BINS * 10}z`, class: "all" }));
  }

  // ------------------------------------------------------------------ the frame
  function show(view) {
    for (const name of ["overview", "review"]) {
      byId(name).hidden = name !== view;
      byId(`tab-${name}`).setAttribute("aria-selected", name === view);
    }
    try { history.replaceState(null, "", `#${view}`); } catch { /* some browsers refuse this for files */ }
    if (view === "review") {
      select(at);
      byId("scroll").focus({ preventScroll: true });
    }
  }
  function options(id, first, entries) {
    byId(id).replaceChildren(make("option", { value: "" }, first), ...entries.map(([value, label]) => make("option", { value }, label)));
  }
  function showFilter() {
    byId("search").value = filter.text;
    byId("filter-structure").value = filter.structure;
    byId("filter-kind").value = filter.flag !== "" ? `flag:${filter.flag}` : filter.kind;
    byId("filter-decision").value = filter.decision;
    byId("filter-chosen").checked = filter.chosen;
  }
  function prepareFilters() {
    const used = new Set(masks.kind);
    const usedFlags = new Set(masks.flags.flatMap((entry) => entry.map(([name]) => name)));
    options("filter-structure", "all structures", structures.map((name, s) => [String(s), words(name) || "whole case"]));
    options("filter-kind", "all findings", [
      ...data.kindNames.map((name, k) => [String(k), kinds[name], k]).filter(([, , k]) => used.has(k)),
      ...flags.map((name, f) => [`flag:${f}`, `flag: ${words(name)}`, f]).filter(([, , f]) => usedFlags.has(f)),
    ]);
    byId("search").addEventListener("input", (event) => {
      filter.text = event.target.value;
      applyFilter();
    });
    byId("filter-structure").addEventListener("change", (event) => { filter.structure = event.target.value; applyFilter(); });
    byId("filter-kind").addEventListener("change", (event) => {
      const isFlag = event.target.value.startsWith("flag:");
      filter.flag = isFlag ? event.target.value.slice(5) : "";
      filter.kind = isFlag ? "" : event.target.value;
      applyFilter();
    });
    byId("filter-decision").addEventListener("change", (event) => { filter.decision = event.target.value; applyFilter(); });
    byId("filter-chosen").addEventListener("change", (event) => { filter.chosen = event.target.checked; applyFilter(); });
  }

  const KEYS = {
    j: () => at + 1 < shown.length && select(at + 1), k: () => at > 0 && select(at - 1),
    g: nextUndecided, a: () => decideHere("accept"), r: () => decideHere("reject"), u: () => decideHere(""),
    n: () => byId("note")?.focus(),
    o: () => { bare = !bare; byId("detail").classList.toggle("bare", bare); },
    Home: () => shown.length && select(0), End: () => shown.length && select(shown.length - 1),
  };
  KEYS.ArrowDown = KEYS.j;
  KEYS.ArrowUp = KEYS.k;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
    const field = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName) && !/^(checkbox|range)$/.test(event.target.type);
    if (field) {
      if (event.key === "Escape") {
        event.target.blur();
        byId("scroll").focus({ preventScroll: true });
      }
      return;
    }
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    let act = { "?": () => byId("help").showModal(), 1: () => show("overview"), 2: () => show("review"),
      "/": () => { show("review"); byId("search").focus(); } }[key];
    // From the overview, a key of the review opens it first: nothing is decided on a mask that is not in sight.
    if (KEYS[key]) act ??= byId("review").hidden ? () => show("review") : KEYS[key];
    if (!act) return;
    event.preventDefault();
    act();
  });

  byId("title").textContent = data.title;
  byId("about").textContent = data.about;
  document.querySelectorAll("nav button").forEach((tab) => tab.addEventListener("click", () => show(tab.dataset.view)));
  byId("help-open").addEventListener("click", () => byId("help").showModal());
  byId("reviewer").addEventListener("change", (event) => {
    try { localStorage.setItem(`${STORE}-reviewer`, event.target.value.trim()); } catch { /* said by readDecisions */ }
  });
  byId("export-csv").addEventListener("click", () => download("decisions.csv", asCsv(), "text/csv"));
  byId("export-json").addEventListener("click", () => download("decisions.json", asJson(), "application/json"));
  byId("threshold").addEventListener("input", drawStructures);
  byId("structure-order").addEventListener("change", drawStructures);
  byId("scroll").addEventListener("scroll", drawRows, { passive: true });
  addEventListener("resize", drawRows);

  readDecisions();
  prepareFilters();
  filter.chosen = data.chosen.length > 0;
  showFilter();
  drawHead();
  drawProgress();
  drawOverview();
  applyFilter(-1);
  show(location.hash === "#review" ? "review" : "overview");
  document.documentElement.dataset.ready = "true";
  // For tests, and for whoever wants the decisions from the console.
  window.segaeDecisions = { csv: asCsv, json: asJson };
})();
