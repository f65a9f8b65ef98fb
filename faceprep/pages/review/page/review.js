"use strict";
// The page: one decision at a time, by keys, mouse or touch.

const plan = faceprepPlan;
const store = plan.mode === "static" ? new BrowserStore(plan) : new ServerStore(plan);
const decisions = new Decisions(plan);
const ui = (id) => document.getElementById(id);
const list = new List(decisions, (place) => go(place));
const threshold = new ThresholdPanel(decisions, decideMany);
const details = new Map();
const HELD = 300;
const SESSION = `faceprep/undo/${location.pathname}`;
let here = 0;
let busy = Promise.resolve();
let over = false;

// Runs actions one after another, so that a key never acts on a decision that is not shown yet.
function queue(act) {
  busy = busy.then(act).catch((error) => say(`Something went wrong: ${error.message}`, true));
  return busy;
}

function nameOf(number) {
  return plan.subject[number] + (plan.into[number] && ` → ${plan.into[number]}`);
}

function say(text, bad = false) {
  ui("status").textContent = text;
  ui("status").className = bad ? "bad" : "";
}

function warn(text) {
  ui("trouble").textContent = text;
  ui("trouble").hidden = !text;
}

// Display

function detailOf(number) {
  if (!details.has(number)) {
    if (details.size >= HELD) details.delete(details.keys().next().value);
    const found = store.detail(number);
    found.catch(() => details.delete(number));
    details.set(number, found);
  }
  return details.get(number);
}

async function go(place) {
  if (!list.shown.length) return;
  here = Math.min(list.shown.length - 1, Math.max(0, place));
  await draw();
  ui("main").scrollTop = 0;
  for (const step of [1, 2, -1]) preload(here + step);
}

function preload(place) {
  const number = list.shown[place];
  if (number === undefined) return;
  detailOf(number).then(
    (detail) => {
      for (const strip of Object.values(detail.strips)) for (const { src } of strip.images.slice(0, 12)) if (src) new Image().src = src;
    },
    () => {},
  );
}

async function draw() {
  list.choose(here);
  const number = list.shown[here];
  ui("decision").hidden = number === undefined;
  ui("nothing").hidden = number !== undefined;
  for (const id of ["accept", "refuse", "skip"]) ui(id).disabled = over || number === undefined;
  ui("undo").disabled = over || !undoable().length;
  ui("previous").disabled = here <= 0;
  ui("next").disabled = here >= list.shown.length - 1;
  if (number === undefined) return;
  drawVerdict(number);
  const [subject, into, action] = [plan.subject[number], plan.into[number], decisions.actionOf(number)];
  ui("title").textContent = TITLES[action]?.(subject, into) ?? `${action} ${subject} ${into}`;
  ui("place").textContent = `${(here + 1).toLocaleString("en")} of ${list.shown.length.toLocaleString("en")}`;
  ui("score").textContent = "";
  let detail;
  try {
    detail = await detailOf(number);
  } catch {
    detail = { reason: "", facts: {}, strips: {} };
    warn("The details of this decision cannot be read. Is the server still running?");
  }
  if (list.shown[here] !== number) return;
  const facts = Object.entries(detail.facts).map(([name, value]) => `${name}: ${typeof value === "number" ? Number(value.toPrecision(5)) : value}`);
  if (!detail.reason) ui("score").textContent = scoreOf(number); // a reason names both
  ui("reason").textContent = [detail.reason, ...facts].filter(Boolean).join(" · ");
  drawStrips(detail.strips);
}

// Describes a score beside the threshold of its action.
function scoreOf(number) {
  const [score, found] = [plan.score[number], plan.thresholds[decisions.actionOf(number)]];
  if (score === null) return "";
  return `score ${Number(score.toPrecision(4))} · threshold: ${found.at_least ? "at least" : "at most"} ${Number(found.value.toPrecision(4))}`;
}

const TITLES = {
  merge: (subject, into) => `Merge ${subject} into ${into}?`,
  move: (subject, into) => `Move ${subject} to ${into}?`,
  drop: (subject) => `Drop ${subject}?`,
  rename: (subject, into) => `Rename ${subject} to ${into}?`,
  restore: (subject, into) => `Restore ${subject} as ${into}?`,
};

function drawVerdict(number) {
  const letter = decisions.verdict[number];
  ui("verdict").textContent = `${MARKS[letter]} ${VERDICTS[letter]}`;
  ui("verdict").className = `mark ${letter}`;
  const { a, r, u } = decisions.counts;
  ui("counts").textContent = `${count(u, "undecided", "undecided")}, ${count(a, "accepted", "accepted")}, ${count(r, "refused", "refused")}`;
  drawDone();
}

// Shows that nothing is undecided, and what to do next.
function drawDone() {
  const { a, r, u } = decisions.counts;
  ui("done").hidden = u > 0 || !decisions.n;
  ui("carry-out").hidden = !ui("done").hidden;
  ui("done-text").textContent = `Done: nothing is undecided. ${a.toLocaleString("en")} accepted, ${r.toLocaleString("en")} refused.`;
  const n = plan.mode === "static" ? store.countChanged() : 0;
  ui("save").textContent = n ? `Save verdicts as a file (${n.toLocaleString("en")})` : "Save verdicts as a file";
  ui("done-next").textContent = n ? "Save the verdicts as a file, then import it where the plan is:" : "Carry it out:";
  ui("done-command").textContent = n ? plan.adopt : plan.next;
}

function drawStrips({ lead, for: pro, against, subject, into }) {
  const isOnlyPair = pro && against && sameNames(pro, against);
  const pairs = [
    lead && pair(lead.images.length > 1 ? "The image and the one that is kept" : "The image", lead),
    isOnlyPair && pair("The only pair", pro),
    !isOnlyPair && pro && pair(lead ? "Evidence for: most similar in the other identity" : "Evidence for: most similar pair", pro),
    !isOnlyPair && against && pair(lead ? "Evidence against: most similar in its own identity" : "Evidence against: least similar pair", against),
  ];
  ui("evidence").replaceChildren(...pairs.filter(Boolean));
  const shown = new Set([lead, pro, against].filter(Boolean).flatMap((strip) => strip.images.map(({ name }) => name)));
  const strips = [subject, into].filter(Boolean);
  const isAllShown = strips.every((strip) => strip.images.length === strip.total && strip.images.every(({ name }) => shown.has(name)));
  ui("identities").replaceChildren(...(isAllShown ? [] : strips.map(identity)));
}

function sameNames(one, other) {
  return one.images.every(({ name }, place) => name === other.images[place]?.name);
}

function pair(title, strip) {
  const panel = element("section", "panel");
  panel.append(element("h3", "", strip.likeness === null ? title : `${title} (${strip.likeness.toFixed(3)})`));
  const images = element("div", "pair");
  images.append(...strip.images.map((image) => picture(image, true)));
  panel.append(images);
  return panel;
}

function identity(strip) {
  const panel = element("section", "panel");
  panel.append(element("h3", "", strip.title === "." ? "(not in a folder)" : strip.title));
  const [shown, total] = [strip.images.length, strip.total];
  panel.append(element("p", "caption", shown < total ? `${count(total, "image")}, ${shown} of them shown` : count(total, "image")));
  const images = element("ul", "strip");
  images.append(
    ...strip.images.map((image) => {
      const item = element("li");
      item.append(picture(image, false));
      return item;
    }),
  );
  panel.append(images);
  return panel;
}

function picture({ src, name }, captioned) {
  const figure = element("figure");
  const missing = () => element("div", "missing", `cannot be shown: ${name}`);
  if (src) {
    const image = new Image();
    image.alt = name;
    image.title = name;
    image.loading = captioned ? "eager" : "lazy";
    image.addEventListener("error", () => image.replaceWith(missing()));
    image.src = src;
    figure.append(image);
  } else figure.append(missing());
  if (captioned) figure.append(element("figcaption", "caption", name));
  return figure;
}

// Deciding

function undoable() {
  return JSON.parse(ofTab.getItem(SESSION) ?? "[]");
}

function take(rows) {
  for (const [number, letter, version] of rows) decisions.set(number, letter, version);
  list.draw();
  threshold.update();
}

function showFailure({ rows, error, ended }) {
  take(rows);
  if (ended) {
    over = true;
    warn(error);
  }
  if (rows.length) {
    const [number, letter] = rows[0];
    const subject = rows.length > 1 ? count(rows.length, "decision") : `${nameOf(number)}: now ${VERDICTS[letter]}`;
    say(`Not saved, ${error}: ${subject}. Decide again to change it.`, true);
  } else say(error.startsWith("Not saved") ? error : `Not saved: ${error}`, true);
  return draw();
}

async function decide(verdict, numbers) {
  say("Saving …");
  const references = numbers.map((number) => [number, decisions.version[number]]);
  const result = await store.decide(verdict, references, (number) => decisions.verdict[number]);
  if (!result.ok) return showFailure(result).then(() => false);
  take(result.rows);
  ofTab.setItem(SESSION, JSON.stringify([...undoable(), [result.group, numbers[0]]].slice(-500)));
  const subject = numbers.length > 1 ? count(numbers.length, "decision") : nameOf(numbers[0]);
  say(`Saved: ${subject} ${verdict}`);
  return true;
}

function decideHere(verdict) {
  return queue(async () => {
    const number = list.shown[here];
    if (over || number === undefined) return;
    if (VERDICTS[decisions.verdict[number]] === verdict) say(`${nameOf(number)} is ${verdict} already`);
    else if (!(await decide(verdict, [number]))) return;
    if (here === list.shown.length - 1) {
      await draw();
      const { u } = decisions.counts;
      say(`${ui("status").textContent}. This was the last decision of the list.${u ? ` ${u.toLocaleString("en")} undecided.` : ""}`);
      if (!u) ui("main").scrollTop = 0;
    } else await go(here + 1);
  });
}

function decideMany(verdict, numbers) {
  return queue(async () => {
    if (over || !numbers.length) return;
    await decide(verdict, numbers);
    await draw();
  });
}

function undo() {
  return queue(async () => {
    const groups = undoable();
    const last = groups.pop();
    if (over || !last) return say("Nothing to undo");
    const [group, number] = last;
    const result = await store.undo(group);
    if (!result.ended) ofTab.setItem(SESSION, JSON.stringify(groups));
    if (!result.ok) return showFailure(result);
    take(result.rows);
    const place = list.shown.indexOf(number);
    if (place >= 0) await go(place);
    else await draw();
    say(`Undone: ${result.rows.length > 1 ? count(result.rows.length, "decision") : nameOf(number)}`);
  });
}

// Controls

function filter() {
  const number = list.shown[here];
  const found = decisions.matching(ui("by-action").value, ui("by-verdict").value, ui("by-text").value.trim());
  list.show(found);
  ui("n-shown").textContent = found.length === decisions.n ? count(found.length, "decision") : `${found.length.toLocaleString("en")} of ${count(decisions.n, "decision")}`;
  here = Math.max(0, found.indexOf(number));
  return go(here).then(draw);
}

function toggleList(open = !document.body.classList.contains("listing")) {
  document.body.classList.toggle("listing", open);
  ui("main").tabIndex = open ? -1 : 0;
  ui("show-list").setAttribute("aria-expanded", open);
  ui("show-list").textContent = open ? "Back" : "List and filters";
  list.choose(here);
}

const KEYS = {
  a: () => decideHere("accepted"),
  r: () => decideHere("refused"),
  s: () => decideHere("undecided"),
  u: undo,
  n: () => queue(() => go(here + 1)),
  j: () => queue(() => go(here + 1)),
  p: () => queue(() => go(here - 1)),
  k: () => queue(() => go(here - 1)),
  "?": () => ui("help").showModal(),
  "/": () => {
    if (ui("show-list").offsetParent) toggleList(true);
    ui("by-text").focus();
  },
};
const MAY_REPEAT = "njpk";

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || ui("help").open) return;
  const typing = event.target.matches?.("input:not([type=range]), select");
  if (event.key === "Escape" && typing) event.target.blur();
  if (typing || !(event.key in KEYS) || (event.repeat && !MAY_REPEAT.includes(event.key))) return;
  event.preventDefault();
  KEYS[event.key]();
});

ui("accept").addEventListener("click", KEYS.a);
ui("refuse").addEventListener("click", KEYS.r);
ui("skip").addEventListener("click", KEYS.s);
ui("undo").addEventListener("click", KEYS.u);
ui("next").addEventListener("click", KEYS.n);
ui("previous").addEventListener("click", KEYS.p);
ui("show-help").addEventListener("click", KEYS["?"]);
ui("show-list").addEventListener("click", () => toggleList());
ui("rows").addEventListener("click", () => toggleList(false));
ui("filters").addEventListener("submit", (event) => event.preventDefault());
ui("filters").addEventListener("change", () => queue(filter));
ui("by-text").addEventListener("input", () => queue(filter));
ui("save").addEventListener("click", () => say(`Saved as a file: ${count(store.save(), "verdict")}. Import it with ${plan.adopt}`));
ui("copy").addEventListener("click", async () => {
  await navigator.clipboard?.writeText(ui("done-command").textContent).then(() => say("Copied"), () => say("This browser does not let the page copy", true));
});
if (plan.mode === "static" && lasting.isBrief) {
  warn("This browser keeps no verdicts. Save them as a file before you close the page.");
  addEventListener("beforeunload", (event) => store.countChanged() && event.preventDefault());
}

ui("plan").textContent = `${plan.command || "plan"}: ${plan.name}`;
document.title = `${plan.name} – faceprep review`;
ui("save").hidden = plan.mode !== "static";
ui("carry-out-command").textContent = plan.next;
ui("by-action").append(...plan.actions.map((action) => new Option(action, action)));
store.watch((rows, trouble) => {
  const news = rows.filter(([number, letter, version]) => decisions.verdict[number] !== letter || decisions.version[number] !== version);
  if (news.length) {
    take(news);
    queue(draw);
  }
  if (trouble || (!over && plan.mode !== "static")) warn(trouble);
});
queue(filter);
