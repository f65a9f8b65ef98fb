"use strict";
// The threshold panel: counts the decisions of an action that a threshold would change, and applies it to undecided ones.

const STEPS = 1000;

class ThresholdPanel {
  constructor(decisions, decideMany) {
    this.decisions = decisions;
    this.decideMany = decideMany;
    this.ui = Object.fromEntries(
      ["action", "side", "number", "slider", "summary", "accept", "refuse"].map((name) => [name, document.getElementById(`t-${name}`)]),
    );
    const { thresholds } = decisions.plan;
    const actions = Object.keys(thresholds);
    if (!actions.length) {
      document.getElementById("threshold").hidden = true;
      return;
    }
    this.ui.action.append(...actions.map((action) => new Option(action, action)));
    this.ui.action.addEventListener("change", () => this.take(this.ui.action.value));
    this.ui.side.addEventListener("change", () => this.update());
    this.ui.slider.addEventListener("input", () => this.slide());
    this.ui.number.addEventListener("input", () => this.update());
    this.ui.accept.addEventListener("click", () => this.decideMany("accepted", this.undecided(true)));
    this.ui.refuse.addEventListener("click", () => this.decideMany("refused", this.undecided(false)));
    document.getElementById("threshold").addEventListener("toggle", () => this.update());
    this.take(actions[0]);
  }

  take(action) {
    const found = this.decisions.plan.thresholds[action];
    this.ui.action.value = action;
    this.range = [found.low, found.high];
    this.ui.side.value = found.at_least ? "1" : "";
    this.ui.number.value = Number(found.value.toPrecision(6));
    this.update();
  }

  slide() {
    const [low, high] = this.range;
    this.ui.number.value = Number((low + ((high - low) * this.ui.slider.value) / STEPS).toPrecision(6));
    this.update();
  }

  get value() {
    return this.ui.number.valueAsNumber;
  }

  // Returns a test for scores; it reads the fields once, as there may be many decisions.
  passing() {
    const { value } = this;
    return this.ui.side.value ? (score) => score >= value : (score) => score <= value;
  }

  // Returns the numbers of the undecided decisions that pass, or of those that do not.
  undecided(wanted) {
    const { plan, verdict, n } = this.decisions;
    const action = plan.actions.indexOf(this.ui.action.value);
    const [passes, found] = [this.passing(), []];
    for (let i = 0; i < n; i++) {
      if (plan.action[i] === action && verdict[i] === "u" && plan.score[i] !== null && passes(plan.score[i]) === wanted) found.push(i);
    }
    return found;
  }

  update() {
    if (!this.range || !document.getElementById("threshold").open) return;
    const { plan, verdict, n } = this.decisions;
    const { ui, value } = this;
    const [low, high] = this.range;
    if (document.activeElement !== ui.slider) ui.slider.value = high > low ? ((value - low) / (high - low)) * STEPS : 0;
    ui.slider.setAttribute("aria-valuetext", String(value));
    const action = plan.actions.indexOf(ui.action.value);
    const pass = this.passing();
    let [scored, passing, accepted, refused, accepts, refuses] = [0, 0, 0, 0, 0, 0];
    for (let i = 0; i < n; i++) {
      if (plan.action[i] !== action || plan.score[i] === null) continue;
      scored++;
      const passes = pass(plan.score[i]);
      passing += passes;
      if (verdict[i] === "u") passes ? accepts++ : refuses++;
      else if (passes && verdict[i] === "r") refused++;
      else if (!passes && verdict[i] === "a") accepted++;
    }
    const side = ui.side.value ? "at least" : "at most";
    const [open, others] = [accepts + refuses, accepted + refused];
    const ofOpen = open
      ? `Of ${open.toLocaleString("en")} undecided, ${accepts.toLocaleString("en")} would be accepted and ${refuses.toLocaleString("en")} refused.`
      : "None is undecided.";
    ui.summary.textContent = Number.isNaN(value)
      ? "Give a score."
      : `${passing.toLocaleString("en")} of ${count(scored, "decision")} to ${ui.action.value} ${passing === 1 ? "has" : "have"} a score of ${side} ${value}. ` +
        ofOpen +
        (others ? ` ${count(others, "decision")} made otherwise ${others === 1 ? "stays" : "stay"} as ${others === 1 ? "it is" : "they are"}.` : "");
    ui.accept.textContent = `Accept ${accepts.toLocaleString("en")} undecided`;
    ui.refuse.textContent = `Refuse ${refuses.toLocaleString("en")} undecided`;
    ui.accept.disabled = !accepts;
    ui.refuse.disabled = !refuses;
  }
}
