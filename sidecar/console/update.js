// The attempt to change the node's programs, as people need it told: a fold of the status, no clock, no page.

/** What an operator may do, and the command that does it on the node's machine. */
export const ACTIONS = {
  cancel: { label: "Cancel it", command: "holdfast update cancel" },
  defer: { label: "Put it off", command: "holdfast update defer" },
  rollback: { label: "Go back", command: "holdfast rollback" },
  promote_root: { label: "Put them in place", command: "holdfast promote" },
};

/** Behind a failure: what says more. */
const LOOK = { label: "See why", command: "holdfast attempts" };

const REASONS = {
  minimum_update_period: "The last update was too short ago.",
  operator_defer: "An operator put it off.",
  live_work_guard: "Work is running that a switch does not carry.",
  candidate_not_ready: "The new runtime was not ready in time; it is tried once more.",
  memory_blocked: "There is too little memory for two runtimes.",
  cutover_failed: "The switch was aborted; the release before it serves.",
};

/** How each state is shown: title, tone, text, and whether its time is one to wait for (`due`) or a limit (`limit`). */
const SHOWN = {
  planned: { title: "Update planned", tone: "busy", text: "It begins by itself. Your work goes on through it.", time: "due" },
  preparing: { title: "Preparing the update", tone: "busy", text: "The release is checked and unpacked into the slot that does not serve.", time: "limit" },
  countdown: { title: "Update is ready", tone: "warn", text: "It takes over by itself. Your work and this connection go on through the switch.", time: "due" },
  prewarming: { title: "Warming up", tone: "busy", text: "The new runtime starts and catches up; the old one serves.", time: "limit" },
  admitted: { title: "Checking the new runtime", tone: "busy", text: "It is ready, and is tried by the way that browsers take; the old one serves.", time: "limit" },
  switching: { title: "Switching", tone: "busy", text: "The new runtime takes over. What you send now waits for a moment and is done once.", time: null },
  probation: { title: "On probation", tone: "busy", text: "The new runtime serves and is watched; if it fails, the old one takes over again.", time: "limit" },
  rolling_back: { title: "Rolling back", tone: "warn", text: "The release before this one takes over again. Everything written since stays.", time: "limit" },
  root_promotion_pending: { title: "Root promotion pending", tone: "warn", text: "The new runtime serves. The release also changes other programs; an operator puts them in place.", time: null },
  root_promoting: { title: "Root promotion", tone: "busy", text: "The node's other programs are being replaced. This page may reconnect once; nothing is lost.", time: "limit" },
  root_restart_in_progress: { title: "Root restart in progress", tone: "busy", text: "The node restarts from its new programs; if they are not confirmed in time, the old ones come back by themselves.", time: "limit" },
  failed: { title: "Update failed", tone: "bad", text: "The node serves with the release it had.", ended: true },
  rolled_back: { title: "Update rolled back", tone: "bad", text: "The node serves with the release it had; everything written since the switch is kept.", ended: true },
  expired: { title: "Update expired", tone: "warn", text: "It waited for too long and was dropped. The node serves.", ended: true },
};

/** States in which the sidecar itself is replaced: a lost connection is part of it, and no sign of anything else. */
const RESTARTS = new Set(["root_promoting", "root_restart_in_progress"]);
/** Longest of a root restart (CONTRACTS.md 2), and how long its word is believed without one of the node's. */
export const ROOT_RESTART_MS = 180_000;

/** Whether a connection that is down is explained by what the node said last, `since` then. */
export function restarts(update, downSince, now) {
  return RESTARTS.has(update?.state) && downSince !== null && now - downSince < ROOT_RESTART_MS;
}

/** States before the switch is over. */
const BEFORE = new Set(["planned", "countdown", "prewarming", "admitted", "switching"]);

/**
 * What is shown of an update that will switch by `mode`, or null: {state, title, tone, text, details, actions, left, share, queued}. `due` is when
 * its state ends by this page's clock (null: not known). `left` are the seconds until then, `share` how much of its
 * time has passed.
 */
export function shownUpdate(update, due, now, mode = null) {
  const shown = SHOWN[update?.state];
  if (!shown) return null;
  const { planned_reason: reason, failure_reason: failure, failed_stage: stage, target_version: release } = update;
  const details = [];
  if (release) details.push(`Release ${release}.`);
  if (shown.ended && failure) details.push(`Reason: ${failure}${stage ? ` (while ${stage.replaceAll("_", " ")})` : ""}.`);
  if (update.state === "planned" && reason) details.push(REASONS[reason] ?? `Reason: ${reason}.`);
  if (mode === "stop_and_switch" && BEFORE.has(update.state)) details.push("There is too little memory for two runtimes: the old one is stopped before the new one takes over, so commands wait a little longer.");
  const left = shown.time && due !== null ? Math.max(0, Math.ceil((due - now) / 1000)) : null;
  const actions = actionsOf(update);
  return {
    state: update.state, title: shown.title, tone: shown.tone, text: shown.text, details, ended: shown.ended === true,
    actions: shown.ended ? [LOOK, ...actions.filter((action) => action !== ACTIONS.rollback)] : actions,
    left, leftText: left === null ? null : leftText(shown.time, left), share: share(update, left),
    queued: queuedText(update.subsequent_transition),
  };
}

/** What is to be done comes first, what ends it behind. A pending root promotion is not ended but left out. */
function actionsOf({ state, operator_actions: names }) {
  const actions = Object.keys(ACTIONS).filter((name) => (names ?? []).includes(name)).map((name) => ACTIONS[name]);
  if (state !== "root_promotion_pending") return actions;
  return actions.reverse().map((action) => (action === ACTIONS.cancel ? { ...action, label: "Leave them as they are" } : action));
}

function share({ state_since: since, state_until: until }, left) {
  const whole = (until - since) / 1000;
  if (left === null || !(whole > 0)) return null;
  return Math.min(1, Math.max(0, 1 - left / whole));
}

function leftText(time, left) {
  return time === "due" ? `begins in ${duration(left)}` : `at most ${duration(left)} more`;
}

function duration(seconds) {
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor(seconds / 60) % 60} min`;
}

function queuedText(next) {
  if (!next) return null;
  const what = { switch: "a switch", rollback: "a rollback", update: "an update" }[next.action] ?? "another change";
  return `Then: ${what}${next.target_version ? ` to release ${next.target_version}` : ""} is queued.`;
}
