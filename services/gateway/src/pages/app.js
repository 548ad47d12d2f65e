// The gateway's page. It uses the public interface like any other client and has no special rights.
"use strict";

const SYMBOLS = ["seven", "bar", "bell", "plum", "orange", "cherry", "lemon"];
const CURRENCY = "EUR";
const DEPOSIT_MINOR = 2000;
const HISTORY_ROWS_MAX = 50;
const TRACES_MAX = 200;
const ATTEMPTS_MAX = 4;
/** Services that take part in a spin. `any` is every consumer. */
const SPIN_SERVICES = ["gateway", "game", "analytics", "any"];
const SPIN_MS = [700, 950, 1200];

const recorder = document.body.dataset.recorder.replace(/\/+$/, "");
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const el = (id) => document.getElementById(id);
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const money = (minor) => (minor / 100).toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });

const session = {
  read: (name) => { try { return JSON.parse(sessionStorage.getItem(name)); } catch { return null; } },
  write: (name, value) => { try { sessionStorage.setItem(name, JSON.stringify(value)); } catch { /* private mode: lost on reload */ } },
};

let player = session.read("player");
let traces = new Map(session.read("traces") || []);
let balance = null;
let busy = false;
/** The fault of the next spin: its id, and the header that asks for it. */
let nextFault = null;

// ---- the interface ---------------------------------------------------------------------------------------------------

/** Creates an idempotency key. All attempts of one write use the same key. */
function newKey() {
  if (crypto.randomUUID) return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
}

/** A problem returned by the gateway, or a failed connection (status 0). */
class RequestError extends Error {
  constructor(problem, status, traceId) {
    super(problem.detail || problem.title || `The gateway returned ${status}`);
    this.status = status;
    this.traceId = traceId;
    this.retryAfterMs = 300;
  }
}

async function call(method, path, { body, key, headers: more } = {}) {
  const headers = { ...more };
  if (player) headers.authorization = `Bearer ${player.token}`;
  if (key) headers["idempotency-key"] = key;
  if (body) headers["content-type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
  } catch {
    throw new RequestError({ title: "The gateway cannot be reached." }, 0, null);
  }
  const traceId = response.headers.get("x-trace-id");
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) {
    const error = new RequestError(answer, response.status, traceId);
    error.retryAfterMs = Math.min(5, Number(response.headers.get("retry-after")) || 0.3) * 1000;
    throw error;
  }
  return { answer, traceId, status: response.status, location: response.headers.get("location") };
}

/** Sends a write. Retries with the same key while its effect is unknown, then polls for its outcome. */
async function write(method, path, body, headers) {
  const key = newKey();
  for (let attempt = 1; ; attempt += 1) {
    try {
      const first = await call(method, path, { body, key, headers });
      return first.status === 202 && first.location ? await poll(first) : first;
    } catch (error) {
      const canRetry = error.status === 0 || error.status === 429 || error.status >= 500;
      if (!canRetry || attempt >= ATTEMPTS_MAX) throw error;
      showMessage("The gateway is slow. Retrying with the same key…");
      await pause(error.retryAfterMs);
    }
  }
}

/** Polls for the outcome after a 202. The trace is that of the write, not of the polling. */
async function poll(first) {
  showMessage("Accepted. Waiting for the outcome…");
  for (let polls = 0; polls < 60; polls += 1) {
    await pause(500);
    const later = await call("GET", first.location);
    if (later.answer.outcome !== "pending") return { ...later, traceId: first.traceId };
  }
  return first;
}

// ---- display ----------------------------------------------------------------------------------------------------------

function node(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function symbol(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#s-${SYMBOLS.includes(name) ? name : "unknown"}`);
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
}

function traceLink(traceId, text) {
  return node("a", { href: `${recorder}/traces/${encodeURIComponent(traceId)}`, target: "_blank", rel: "noopener", title: `Trace ${traceId}` }, text);
}

function showMessage(...parts) {
  el("result").replaceChildren(...parts.map((part) => (typeof part === "string" ? node("span", {}, part) : part)));
}

function showError(error) {
  const parts = [node("strong", { class: "bad" }, error.message)];
  if (error.traceId) parts.push(traceLink(error.traceId, "its trace"));
  showMessage(...parts);
}

function showBalance(minor) {
  const output = el("balance");
  if (balance !== null && minor !== balance) {
    output.classList.remove("up", "down");
    void output.offsetWidth; // lets the animation start again
    output.classList.add(minor > balance ? "up" : "down");
  }
  balance = minor;
  output.textContent = minor === null ? "–" : `${money(minor)} ${CURRENCY}`;
}

function showPlayer() {
  el("player").textContent = player ? player.name : "Not registered";
  el("register").hidden = Boolean(player);
  el("leave").hidden = !player;
  el("leave").disabled = busy;
  el("deposit").disabled = !player || busy;
  el("spin").disabled = !player || busy;
  el("register").disabled = busy;
}

function reelsText(reels) {
  return reels && reels.length ? reels.join(", ") : "not played";
}

function historyRow(bet, traceId, tookMs) {
  const reels = node("td", { "aria-label": reelsText(bet.reels) }, ...(bet.reels || []).map(symbol));
  if (!bet.reels || !bet.reels.length) reels.textContent = "–";
  const words = { won: `won ${money(bet.payout_minor || 0)}`, rejected: (bet.reason || "rejected").replaceAll("_", " ") };
  const outcome = node("td", {}, node("span", { class: `tag ${bet.outcome}` }, words[bet.outcome] || bet.outcome));
  const trace = node("td", {}, traceId ? traceLink(traceId, `${traceId.slice(0, 8)}…`) : "–");
  return node("tr", {}, reels,
    node("td", { class: "num" }, bet.stake_minor === undefined ? "–" : money(bet.stake_minor)), outcome,
    node("td", { class: "num" }, bet.balance_minor === undefined || bet.balance_minor === null ? "–" : money(bet.balance_minor)),
    node("td", { class: "num" }, tookMs === undefined ? "–" : `${tookMs} ms`), trace);
}

function addHistoryRow(bet, traceId, tookMs) {
  const body = el("history");
  body.querySelector(".empty")?.remove();
  const row = historyRow(bet, traceId, tookMs);
  row.classList.add("fresh");
  body.prepend(row);
  while (body.rows.length > HISTORY_ROWS_MAX) body.lastElementChild.remove();
  if (traceId) {
    traces.set(bet.bet_id, traceId);
    traces = new Map([...traces].slice(-TRACES_MAX));
    session.write("traces", [...traces]);
  }
}

// ---- the reels -------------------------------------------------------------------------------------------------------

const strips = [...document.querySelectorAll(".strip")];
const anySymbol = () => SYMBOLS[Math.floor(Math.random() * SYMBOLS.length)];
const cell = (name) => node("div", { class: "cell" }, symbol(name));

function rest(names) {
  strips.forEach((strip, at) => {
    strip.getAnimations().forEach((animation) => animation.cancel());
    strip.replaceChildren(cell(names[at] ?? "unknown"));
  });
  el("reels").setAttribute("aria-label", `The reels show ${names.join(", ")}`);
}

/** Turns all reels and returns a function that stops them at the given symbols. */
function turn() {
  el("reels").classList.remove("won");
  if (calm.matches) return async (names) => rest(names);
  const running = strips.map((strip) => {
    strip.replaceChildren(...Array.from({ length: 7 }, () => cell(anySymbol())));
    strip.append(strip.firstElementChild.cloneNode(true));
    return strip.animate([{ transform: "translateY(-87.5%)" }, { transform: "translateY(0)" }], { duration: 420, iterations: Infinity });
  });
  const started = performance.now();
  return async (names) => {
    await Promise.all(strips.map(async (strip, at) => {
      await pause(Math.max(0, SPIN_MS[at] - (performance.now() - started)));
      running[at].cancel();
      strip.replaceChildren(cell(names[at] ?? "unknown"), cell(anySymbol()), cell(anySymbol()));
      await strip.animate([{ transform: "translateY(-66.6%)" }, { transform: "translateY(3%)", offset: 0.8 }, { transform: "translateY(0)" }],
        { duration: 380, easing: "cubic-bezier(.2,.7,.3,1)" }).finished;
    }));
    rest(names);
  };
}

// ---- actions of the player --------------------------------------------------------------------------------------------

async function runAction(action) {
  if (busy) return;
  busy = true;
  showPlayer();
  try {
    await action();
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    if (error.status === 401 && player) leave();
    showError(error);
  } finally {
    busy = false;
    showPlayer();
  }
}

const logOut = () => runAction(async () => {
  await call("DELETE", "/api/v1/sessions/current");
  leave();
  showMessage("Logged out.");
});

function leave() {
  player = null;
  session.write("player", null);
  showBalance(null);
}

const register = () => runAction(async () => {
  showMessage("Registering…");
  const name = newKey().replaceAll("-", "").slice(0, 10);
  const credentials = { email: `${name}@players.example`, password: newKey() };
  await write("POST", "/api/v1/players", { ...credentials, display_name: `Guest ${name.slice(0, 4)}`, currency: CURRENCY });
  const { answer } = await write("POST", "/api/v1/sessions", credentials);
  player = { token: answer.token, id: answer.player_id, name: `Guest ${name.slice(0, 4)}` };
  session.write("player", player);
  showBalance(0);
  showMessage(node("strong", {}, `Welcome, ${player.name}.`), "Deposit some play money.");
  el("deposit").disabled = false;
  setTimeout(() => el("deposit").focus(), 0);
});

const deposit = () => runAction(async () => {
  showMessage("Waiting for the card provider…");
  const { answer, traceId } = await write("POST", "/api/v1/payments/deposits", { amount_minor: DEPOSIT_MINOR, currency: CURRENCY });
  const link = traceId ? [traceLink(traceId, "its trace")] : [];
  if (answer.outcome !== "completed") {
    showMessage(node("strong", { class: "bad" }, `The deposit ${answer.outcome === "failed" ? "failed" : "is still pending"}.`), ...link);
    return;
  }
  showBalance(answer.balance_minor);
  showMessage(node("strong", {}, `${money(answer.amount_minor ?? DEPOSIT_MINOR)} ${CURRENCY} deposited.`), ...link);
  setTimeout(() => el("spin").focus(), 0);
});

const spin = () => runAction(async () => {
  const stake = Number(document.querySelector("input[name=stake]:checked").value);
  const stop = turn();
  showMessage("Good luck…");
  const fault = takeNextFault();
  let bet, traceId, tookMs;
  try {
    const started = performance.now();
    const headers = fault && { ...operatorHeaders(), "x-pitboss-fault": fault.header };
    ({ answer: bet, traceId } = await write("POST", "/api/v1/bets", { game: "slots", stake_minor: stake, currency: CURRENCY }, headers));
    tookMs = Math.round(performance.now() - started);
    if (fault) showFaultTrace(fault, traceId);
  } catch (error) {
    if (fault) showFaultTrace(fault, error.traceId);
    await stop(["unknown", "unknown", "unknown"]);
    throw error;
  }
  await stop(bet.reels && bet.reels.length ? bet.reels : ["unknown", "unknown", "unknown"]);
  addHistoryRow({ stake_minor: stake, ...bet }, traceId, tookMs);
  if (typeof bet.balance_minor === "number") showBalance(bet.balance_minor);
  showOutcome(bet, traceId, tookMs);
});

function showOutcome(bet, traceId, tookMs) {
  const link = traceId ? traceLink(traceId, "follow its trace") : "";
  if (bet.outcome === "won") {
    el("reels").classList.add("won");
    showMessage(node("strong", { class: "won" }, `You won ${money(bet.payout_minor)} ${CURRENCY}!`), `Settled in ${tookMs} ms:`, link);
  } else if (bet.outcome === "lost") {
    showMessage(node("strong", {}, "No luck this time."), `Settled in ${tookMs} ms:`, link);
  } else {
    const reason = bet.reason ? `: ${bet.reason.replaceAll("_", " ")}` : "";
    showMessage(node("strong", { class: "bad" }, `The bet is ${bet.outcome}${reason}.`), link);
  }
}

// ---- faults, for operators -------------------------------------------------------------------------------------------

/** The token stays in its field, and goes only with requests that need it. */
function operatorHeaders() {
  return { "x-operator-token": el("operator-token").value.trim() };
}

function faultState({ armed }) {
  if (!armed) return node("span", { class: "tag lost" }, "off");
  const values = Object.entries(armed.values).map(([name, value]) => `${name}=${value}`);
  const left = armed.expires_at_epoch_ms && `ends in ${Math.max(0, Math.round((armed.expires_at_epoch_ms - Date.now()) / 1000))} s`;
  return node("span", { class: "tag rejected" }, ["armed", armed.scope, ...values, left].filter(Boolean).join(", "));
}

async function showFaults() {
  try {
    const { answer } = await call("GET", "/api/v1/faults", { headers: operatorHeaders() });
    el("fault-list").replaceChildren(...answer.faults.map((fault) => node("tr", {},
      node("td", { class: "id" }, fault.id), node("td", { class: "text", title: fault.breaks }, fault.title), node("td", {}, faultState(fault)))));
    const offered = answer.faults.filter(({ one_request: isForRequests, services }) => isForRequests && services.some((name) => SPIN_SERVICES.includes(name)));
    el("fault").replaceChildren(...offered.map(({ id, params }) => {
      const option = node("option", { value: id }, id);
      option.dataset.values = params.map((param) => `${param.name}=${param.default}`).join(" ");
      return option;
    }));
    showFaultValues();
    el("faults-next").hidden = false;
    const invalid = (answer.invalid ?? []).map(({ name, reason }) => `flag ${name} is invalid: ${reason}`);
    el("fault-state").textContent = [answer.problem, ...invalid].filter(Boolean).join(". ");
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    el("fault-state").textContent = error.message;
  }
}

function showFaultValues() {
  el("fault-values").value = el("fault").selectedOptions[0]?.dataset.values ?? "";
}

function armNextFault() {
  const id = el("fault").value;
  const values = el("fault-values").value.split(/[\s,;]+/).filter(Boolean);
  nextFault = { id, header: [id, ...values].join(";") };
  el("fault-state").textContent = `Your next spin carries ${nextFault.header}.`;
}

/** Returns the fault of this spin. It acts on no later one. */
function takeNextFault() {
  const fault = nextFault;
  nextFault = null;
  return fault;
}

function showFaultTrace(fault, traceId) {
  const link = traceId ? [traceLink(traceId, "open its trace")] : ["it has no trace"];
  el("fault-state").replaceChildren(`Spin with ${fault.id}: `, ...link);
}

// ---- start -----------------------------------------------------------------------------------------------------------

async function resume() {
  if (!player) return;
  try {
    const [{ answer: balances }, { answer: page }] = await Promise.all([
      call("GET", "/api/v1/me/balance"), call("GET", `/api/v1/me/bets?limit=${HISTORY_ROWS_MAX}`),
    ]);
    showBalance(balances.balances?.[CURRENCY] ?? 0);
    const rows = (page.bets || []).map((bet) => historyRow(bet, traces.get(bet.bet_id) ?? bet.trace_id));
    if (rows.length) el("history").replaceChildren(...rows);
    showMessage(node("strong", {}, `Welcome back, ${player.name}.`));
  } catch (error) {
    if (error.status === 401) leave();
    showError(error);
  }
  showPlayer();
}

/** One line of the pay table: the symbols, and the payout as a multiple of the stake. */
function payLine({ line, multiplier }) {
  const shown = line.map((name) => (SYMBOLS.includes(name) ? symbol(name) : node("i", {}, name)));
  return node("li", {}, node("span", { class: "combination", "aria-label": line.join(", ") }, ...shown),
    node("b", { class: "num" }, `× ${multiplier}`));
}

async function showPayTable() {
  const box = el("pay-table");
  try {
    const { answer } = await call("GET", "/api/v1/games/slots/pay-table");
    const { numerator, denominator, percent } = answer.rtp;
    box.replaceChildren(
      node("p", { class: "hint" }, `Return to player: ${percent.replace(/\s*%$/, "")} %, exactly ${numerator}/${denominator}, counted over every stop of the reels.`),
      node("ul", {}, ...answer.pays.map(payLine)));
  } catch (error) {
    box.replaceChildren(node("p", { class: "hint" }, error.message));
  }
}

el("register").addEventListener("click", register);
el("leave").addEventListener("click", logOut);
el("deposit").addEventListener("click", deposit);
el("spin").addEventListener("click", spin);
el("faults-show").addEventListener("click", showFaults);
el("fault").addEventListener("change", showFaultValues);
el("fault-arm").addEventListener("click", armNextFault);
el("pays").addEventListener("toggle", () => { if (el("pays").open) showPayTable(); }, { once: true });
document.addEventListener("keydown", (event) => {
  const writing = event.target.closest?.("button, a, summary, select, input[type=text], input[type=password]");
  if (event.code !== "Space" || event.repeat || writing || !player) return;
  event.preventDefault();
  spin();
});
rest(["seven", "bell", "cherry"]);
showPlayer();
resume();
