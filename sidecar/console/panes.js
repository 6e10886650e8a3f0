// Which tasks are side by side. Pure: {tasks, focus} in, {tasks, focus} out; `tasks` is in the order on the page.

/** Tasks open at once; each is a subscription and a conversation in memory. */
export const PANES_MAX = 4;
/** Below this a pane is too narrow to read output in. */
export const PANE_MIN_PX = 400;
/** The list of tasks, where it stands beside the panes; narrower pages have it over them. */
export const SIDEBAR_PX = 264;
export const NARROW_PX = 720;

export const NONE = Object.freeze({ tasks: Object.freeze([]), focus: null });

/** Shows `task` where the focus is; if it is open already, the focus goes there. */
export function choose({ tasks, focus }, task) {
  if (tasks.includes(task)) return { tasks, focus: task };
  if (focus === null) return { tasks: [...tasks, task].slice(-PANES_MAX), focus: task };
  return { tasks: tasks.map((open) => (open === focus ? task : open)), focus: task };
}

/** Shows `task` in a pane of its own, of at most `room`; where there is none, in place of the last without focus. */
export function beside(panes, task, room) {
  const { tasks, focus } = panes;
  if (tasks.includes(task) || focus === null) return choose(panes, task);
  const most = Math.max(1, Math.min(PANES_MAX, room));
  if (most === 1) return choose(panes, task);
  let kept = tasks;
  while (kept.length >= most) {
    const leaving = kept.findLast((open) => open !== focus);
    kept = kept.filter((open) => open !== leaving);
  }
  const at = kept.indexOf(focus) + 1;
  return { tasks: [...kept.slice(0, at), task, ...kept.slice(at)], focus: task };
}

/** Closes a pane; the focus goes to its neighbour. */
export function close({ tasks, focus }, task) {
  const at = tasks.indexOf(task);
  const left = tasks.filter((open) => open !== task);
  return { tasks: left, focus: focus === task ? (left[Math.max(0, at - 1)] ?? null) : focus };
}

/** What `wanted` (from an address) opens: the first has the focus. */
export function restore(wanted) {
  const tasks = [...new Set(wanted)].slice(0, PANES_MAX);
  return { tasks, focus: tasks[0] ?? null };
}

/** How many panes a page of this width has room for. */
export function room(width) {
  if (width <= NARROW_PX) return 1;
  return Math.max(1, Math.min(PANES_MAX, Math.floor((width - SIDEBAR_PX) / PANE_MIN_PX)));
}

/** The tasks that are seen where there is room for so many; the focused one always is. */
export function seen({ tasks, focus }, most) {
  const first = tasks.slice(0, most);
  return focus === null || first.includes(focus) ? first : [...first.slice(0, most - 1), focus];
}
