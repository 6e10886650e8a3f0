// Where the page keeps what it needs over a reload: the token in sessionStorage, the tasks in the fragment.

const KEY = "holdfast.token";

/** Takes a token out of the fragment, erases it there, and remembers it for this tab. Answers whether there was one. */
export function takeToken() {
  const fields = new URLSearchParams(location.hash.slice(1));
  const token = fields.get("token");
  if (token === null) return false;
  fields.delete("token");
  replaceFragment(fields);
  if (token !== "") remember(token);
  return token !== "";
}

export function remember(token) {
  sessionStorage.setItem(KEY, token);
}

export function remembered() {
  return sessionStorage.getItem(KEY);
}

export function forget() {
  sessionStorage.removeItem(KEY);
}

/** The tasks that the address names; the first has the focus. */
export function chosenTasks() {
  return new URLSearchParams(location.hash.slice(1)).getAll("task");
}

export function chooseTasks({ tasks, focus }) {
  const fields = new URLSearchParams(location.hash.slice(1));
  fields.delete("task");
  for (const task of focus === null ? [] : [focus, ...tasks.filter((other) => other !== focus)]) fields.append("task", task);
  replaceFragment(fields);
}

function replaceFragment(fields) {
  const rest = fields.toString();
  history.replaceState(null, "", location.pathname + location.search + (rest === "" ? "" : `#${rest}`));
}
