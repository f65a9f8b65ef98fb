"use strict";
// Stores of decisions and verdicts: the server, or this browser for a folder of files.
// Both answer a change with {ok, rows: [[number, verdict, version]], group, error, ended}.

const faceprepPages = {};

// Returns a storage of this browser; where it has none, one that lasts as long as the page.
function openStorage(name) {
  try {
    window[name].getItem("");
    return window[name];
  } catch {
    const held = new Map();
    return { isBrief: true, getItem: (key) => held.get(key) ?? null, setItem: (key, value) => held.set(key, value) };
  }
}

const lasting = openStorage("localStorage");
const ofTab = openStorage("sessionStorage");

class ServerStore {
  constructor(plan) {
    this.since = plan.since;
  }

  async detail(number) {
    return (await fetch(`decision/${number}`)).json();
  }

  decide(verdict, decisions) {
    return this.post("decide", { verdict, decisions });
  }

  undo(group) {
    return this.post("undo", { group });
  }

  async post(what, body) {
    let answer;
    try {
      const headers = { "Content-Type": "application/json" };
      answer = await fetch(what, { method: "POST", headers, body: JSON.stringify(body) });
      const result = await answer.json();
      return { ok: answer.ok, rows: [], ...result };
    } catch {
      return { ok: false, rows: [], error: "Not saved: the server does not answer. Start faceprep review again.", ended: true };
    }
  }

  // Calls `report` with the decisions of other tabs, every few seconds while the page is visible.
  watch(report) {
    const look = async () => {
      if (document.hidden) return;
      try {
        const news = await (await fetch(`changes/${this.since}`)).json();
        this.since = news.since;
        report(news.rows, news.trouble);
      } catch {
        report([], "The server does not answer: it has ended. Every verdict that was shown as saved is saved.");
      }
    };
    setInterval(look, 2500);
    document.addEventListener("visibilitychange", look);
  }
}

// Keeps a letter for each decision that differs from the plan, in pages, so that a verdict writes little.
class BrowserStore {
  constructor(plan) {
    this.plan = plan;
    this.first = plan.verdict;
    this.groups = new Map(JSON.parse(ofTab.getItem(this.key("groups")) ?? "[]"));
    this.lastGroup = Date.now();
    const letters = [...plan.verdict];
    for (let page = 0; page * plan.page < letters.length; page++) {
      const kept = this.kept(page);
      for (let i = 0; i < kept.length; i++) if (kept[i] !== "-") letters[page * plan.page + i] = kept[i];
    }
    plan.verdict = letters.join("");
  }

  key(page) {
    return `faceprep/${this.plan.id}/${page}`;
  }

  kept(page) {
    return lasting.getItem(this.key(page)) ?? "";
  }

  verdictOf(number) {
    const letter = this.kept(Math.floor(number / this.plan.page))[number % this.plan.page] ?? "-";
    return letter === "-" ? this.first[number] : letter;
  }

  async detail(number) {
    const page = Math.floor(number / this.plan.page);
    if (!faceprepPages[page]) await loadScript(`pages/${String(page).padStart(4, "0")}.js`);
    return faceprepPages[page][number % this.plan.page];
  }

  // Changes all decisions or none, as the server does; none if somebody has changed one since it was shown.
  async decide(verdict, decisions, shownVerdict) {
    const stale = decisions.filter(([number]) => this.verdictOf(number) !== shownVerdict(number));
    if (stale.length) return { ok: false, error: "decided elsewhere meanwhile", rows: this.rows(stale.map(([number]) => number)) };
    const numbers = decisions.map(([number]) => number).filter((number) => this.verdictOf(number) !== verdict[0]);
    const before = numbers.map((number) => [number, this.verdictOf(number)]);
    const group = ++this.lastGroup;
    const error = this.keep(numbers.map((number) => [number, verdict[0]]));
    if (error) return { ok: false, error, rows: [] };
    this.groups.set(group, { before, verdict: verdict[0] });
    this.remember();
    return { ok: true, group, rows: this.rows(decisions.map(([number]) => number)) };
  }

  // Keeps small groups for a reload; large ones can only be undone before it.
  remember() {
    const small = [...this.groups].filter(([, { before }]) => before.length <= this.plan.page);
    ofTab.setItem(this.key("groups"), JSON.stringify(small.slice(-500)));
  }

  async undo(group) {
    const { before, verdict } = this.groups.get(group) ?? { before: [] };
    const mine = before.filter(([number]) => this.verdictOf(number) === verdict);
    if (!mine.length) return { ok: false, error: "nothing to undo: it was decided again since then", rows: this.rows(before.map(([n]) => n)) };
    const error = this.keep(mine);
    return { ok: !error, error, rows: this.rows(mine.map(([number]) => number)) };
  }

  keep(letters) {
    const pages = new Map();
    for (const [number, letter] of letters) {
      const page = Math.floor(number / this.plan.page);
      if (!pages.has(page)) pages.set(page, [...this.kept(page).padEnd(this.plan.page, "-")]);
      pages.get(page)[number % this.plan.page] = letter === this.first[number] ? "-" : letter;
    }
    const before = [...pages.keys()].map((page) => [page, this.kept(page)]);
    try {
      for (const [page, kept] of pages) lasting.setItem(this.key(page), kept.join(""));
    } catch {
      for (const [page, kept] of before) lasting.setItem(this.key(page), kept);
      return "Not saved: this browser has no room left. Save the verdicts as a file.";
    }
    return "";
  }

  rows(numbers) {
    return numbers.map((number) => [number, this.verdictOf(number), 0]);
  }

  watch(report) {
    addEventListener("storage", (event) => {
      const page = Number(event.key?.startsWith(this.key("")) ? event.key.slice(this.key("").length) : -1);
      if (page < 0) return;
      const numbers = Array.from({ length: this.plan.page }, (_, i) => page * this.plan.page + i);
      report(this.rows(numbers.filter((number) => number < this.first.length)), "");
    });
  }

  // Counts the verdicts that differ from the plan.
  countChanged() {
    const { first } = this;
    let n = 0;
    for (let number = 0; number < first.length; number++) n += this.verdictOf(number) !== first[number];
    return n;
  }

  // Saves the verdicts that differ from the plan, for `faceprep review PLAN --import FILE`.
  save() {
    const { plan, first } = this;
    const lines = [];
    for (let number = 0; number < first.length; number++) {
      const verdict = this.verdictOf(number);
      if (verdict === first[number]) continue;
      const [action, subject, into] = [plan.actions[plan.action[number]], plan.subject[number], plan.into[number]];
      lines.push(JSON.stringify({ number, action, subject, into, verdict: VERDICTS[verdict], before: VERDICTS[first[number]] }));
    }
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([lines.map((line) => line + "\n").join("")], { type: "application/jsonl" }));
    link.download = plan.name.replace(/(\.jsonl)?$/, ".verdicts.jsonl");
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    return lines.length;
  }
}

const VERDICTS = { a: "accepted", r: "refused", u: "undecided" };

function loadScript(src) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = src;
    script.onload = resolve;
    script.onerror = () => reject(new Error(`${src} is missing`));
    document.head.append(script);
  });
}
