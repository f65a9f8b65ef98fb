"use strict";
// The decisions in the order of review, and their list, which holds only the visible rows.

const ROW = 44;

class Decisions {
  constructor(plan) {
    this.plan = plan;
    this.n = plan.action.length;
    this.verdict = [...plan.verdict];
    this.version = new Uint32Array(this.n);
    for (const [number, version] of plan.versions ?? []) this.version[number] = version;
    this.names = null;
    this.order = this.sorted();
    this.counts = { a: 0, r: 0, u: 0 };
    for (const letter of this.verdict) this.counts[letter]++;
  }

  actionOf(number) {
    return this.plan.actions[this.plan.action[number]];
  }

  // Sorts undecided decisions first, then by distance to the threshold of their action; those without a score last.
  sorted() {
    const { action, score, actions, thresholds } = this.plan;
    const distance = new Float64Array(this.n);
    for (let i = 0; i < this.n; i++) {
      const near = score[i] === null ? Infinity : Math.abs(score[i] - thresholds[actions[action[i]]].value);
      distance[i] = near;
    }
    const late = this.verdict.map((letter) => letter !== "u");
    return Array.from({ length: this.n }, (_, i) => i).sort(
      (a, b) => late[a] - late[b] || (distance[a] === distance[b] ? a - b : distance[a] - distance[b]),
    );
  }

  set(number, letter, version) {
    this.counts[this.verdict[number]]--;
    this.counts[letter]++;
    this.verdict[number] = letter;
    this.version[number] = version;
  }

  matching(action, letter, text) {
    const { subject, into, actions } = this.plan;
    const wanted = text.toLowerCase();
    if (wanted && !this.names) this.names = subject.map((name, i) => `${name}\n${into[i]}`.toLowerCase());
    return this.order.filter(
      (i) =>
        (!action || actions[this.plan.action[i]] === action) &&
        (!letter || this.verdict[i] === letter) &&
        (!wanted || this.names[i].includes(wanted)),
    );
  }
}

class List {
  constructor(decisions, choose) {
    this.decisions = decisions;
    this.shown = [];
    this.chosen = -1;
    this.box = document.getElementById("list");
    this.rows = document.getElementById("rows");
    this.box.addEventListener("scroll", () => requestAnimationFrame(() => this.draw()));
    addEventListener("resize", () => this.draw());
    this.rows.addEventListener("click", (event) => {
      const item = event.target.closest(".item");
      if (item) choose(Number(item.dataset.place));
    });
    this.box.addEventListener("keydown", (event) => {
      const page = Math.max(1, Math.floor(this.box.clientHeight / ROW) - 1);
      const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
      if (!(event.key in steps) || !this.shown.length) return;
      event.preventDefault();
      choose(Math.min(this.shown.length - 1, Math.max(0, this.chosen + steps[event.key])));
    });
  }

  show(numbers) {
    this.shown = numbers;
    this.rows.style.height = `${numbers.length * ROW}px`;
    this.draw();
  }

  choose(place) {
    this.chosen = place;
    const top = place * ROW;
    if (top < this.box.scrollTop) this.box.scrollTop = top;
    else if (top + ROW > this.box.scrollTop + this.box.clientHeight) this.box.scrollTop = top + ROW - this.box.clientHeight;
    this.draw();
  }

  draw() {
    const first = Math.max(0, Math.floor(this.box.scrollTop / ROW) - 5);
    const last = Math.min(this.shown.length, Math.ceil((this.box.scrollTop + this.box.clientHeight) / ROW) + 5);
    const items = [];
    for (let place = first; place < last; place++) items.push(this.item(place));
    this.rows.replaceChildren(...items);
    const chosen = this.chosen >= first && this.chosen < last;
    if (chosen) this.box.setAttribute("aria-activedescendant", `item-${this.chosen}`);
    else this.box.removeAttribute("aria-activedescendant");
  }

  item(place) {
    const number = this.shown[place];
    const { plan, verdict } = this.decisions;
    const item = element("div", "item");
    item.id = `item-${place}`;
    item.dataset.place = place;
    item.style.top = `${place * ROW}px`;
    item.setAttribute("role", "option");
    item.setAttribute("aria-selected", place === this.chosen);
    item.setAttribute("aria-setsize", this.shown.length);
    item.setAttribute("aria-posinset", place + 1);
    const names = element("span", "names", nameOf(number));
    names.title = `${this.decisions.actionOf(number)} ${names.textContent}`;
    const mark = element("span", `mark ${verdict[number]}`, `${shortScore(plan.score[number])} ${MARKS[verdict[number]]}`);
    mark.setAttribute("aria-label", `${shortScore(plan.score[number])} ${VERDICTS[verdict[number]]}`);
    item.append(names, mark);
    return item;
  }
}

const MARKS = { a: "✓", r: "✗", u: "?" };

function element(name, className = "", text = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.textContent = text;
  return made;
}

function shortScore(score) {
  if (score === null) return "";
  return Math.abs(score) >= 100 ? score.toFixed(0) : score.toFixed(3);
}

function count(n, one, many = `${one}s`) {
  return `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
}
