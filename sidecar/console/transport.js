// The world around a Session: one WebSocket, one timer, the browser's hints that the network is back.

/** Lets go of a socket the page closed but the network has not: the next dial does not wait for it. */
const OWN_CLOSE = 1000;

export class Transport {
  /** `handlers[type]` is called with each action of the session that is not the transport's own. */
  constructor(url, session, handlers) {
    this.url = url;
    this.session = session;
    this.handlers = handlers;
    this.socket = null;
    this.timer = null;
    this.stopped = false;
    this.nudge = () => {
      if (document.visibilityState !== "hidden") this.run(this.session.connect(Date.now()));
    };
    window.addEventListener("online", this.nudge);
    document.addEventListener("visibilitychange", this.nudge);
  }

  start() {
    this.run(this.session.connect(Date.now()));
  }

  stop() {
    this.stopped = true;
    clearTimeout(this.timer);
    window.removeEventListener("online", this.nudge);
    document.removeEventListener("visibilitychange", this.nudge);
    this.hangUp(OWN_CLOSE, "");
  }

  subscribe(channel, position, once) {
    this.run(this.session.subscribe(channel, position, once));
  }

  unsubscribe(channel) {
    this.run(this.session.unsubscribe(channel));
  }

  call(key, method, data) {
    this.run(this.session.call(key, method, data, Date.now()));
  }

  run(actions) {
    if (this.stopped) return;
    for (const action of actions) {
      if (action.type === "dial") this.dial();
      else if (action.type === "send") this.send(action.text);
      else if (action.type === "close") this.hangUp(action.code, action.reason);
      else this.handlers[action.type]?.(action);
    }
    this.arm();
  }

  dial() {
    const socket = new WebSocket(this.url);
    this.socket = socket;
    const mine = (handle) => (event) => {
      if (this.socket === socket) this.run(handle(event));
    };
    socket.onopen = mine(() => this.session.opened(Date.now()));
    socket.onmessage = mine((event) => this.session.received(String(event.data), Date.now(), Math.random()));
    socket.onclose = mine((event) => {
      this.socket = null;
      return this.session.closed(event.code, event.reason, Date.now(), Math.random());
    });
  }

  send(text) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(text);
  }

  hangUp(code, reason) {
    const socket = this.socket;
    this.socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(code, reason.slice(0, 100));
  }

  arm() {
    clearTimeout(this.timer);
    const at = this.session.deadline();
    if (at === null || this.stopped) return;
    this.timer = setTimeout(() => this.run(this.session.due(Date.now(), Math.random())), Math.max(0, at - Date.now()));
  }
}
