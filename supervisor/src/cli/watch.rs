//! `watch`: the node as it is now, until it is ended; one status object per line without a terminal.

use super::output::{CliError, Output};
use super::place::Place;
use super::terminal::{self, Keys, Pressed};
use crate::watch::{Line, View, draw, status_object};
use holdfast_shared::control::Client;
use holdfast_shared::process::Signals;
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::time::Duration;

/// Between two looks: a countdown goes by the second, a switch is an event in the list.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// Each answer of a look; past it what was known before is not shown as if it were now.
const ANSWERS: Duration = Duration::from_secs(1);
/// Other screen, cleared, without cursor; and back.
const ENTER: &str = "\x1b[?1049h\x1b[2J\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// Shows the node until Ctrl-C or `q`.
pub fn watch(place: &Place, output: &Output) -> Result<u8, CliError> {
    if !place.anything_lives() {
        return Err(place.not_running());
    }
    let live = !output.json && std::io::stdout().is_terminal();
    super::output::block_on(async {
        if live { on_terminal(place, output).await } else { as_lines(place, output).await }
    })?;
    Ok(crate::exit::FINE)
}

/// Clients of the two control sockets; connections are kept from look to look.
struct Sockets {
    supervisor: Client,
    sidecar: Client,
}

impl Sockets {
    fn of(place: &Place) -> Self {
        Self { supervisor: place.supervisor(), sidecar: place.sidecar() }
    }

    async fn look(&self, place: &Place) -> View {
        let ask =
            async |client: &Client, path: &str| client.get::<Value>(path, ANSWERS).await.unwrap_or_default();
        let (status, slots, events, sidecar) = tokio::join!(
            ask(&self.supervisor, "/v1/status"),
            ask(&self.supervisor, "/v1/slots"),
            ask(&self.supervisor, "/v1/events"),
            ask(&self.sidecar, "/v1/status"),
        );
        let status = match (status.is_null(), place.anything_lives()) {
            (false, _) => status,
            (true, true) => super::status::without_supervisor(place).await,
            (true, false) => json!({"node": {"state": "not_running", "home": place.home.path(),
                "problems": ["no process of the node lives; `holdfast up` starts it"]}}),
        };
        View { status, slots, events, sidecar }
    }
}

async fn as_lines(place: &Place, output: &Output) -> Result<(), CliError> {
    let sockets = Sockets::of(place);
    let mut signals = Signals::listen(&[libc::SIGINT, libc::SIGTERM, libc::SIGHUP])
        .map_err(CliError::system("catch signals"))?;
    let mut shown = Value::Null;
    loop {
        let object = status_object(&sockets.look(place).await);
        if object != shown {
            // Whoever read this has gone, and nobody else will.
            if !output.write_or_gone(&format!("{object}\n")) {
                return Ok(());
            }
            shown = object;
        }
        tokio::select! {
            _ = signals.next() => return Ok(()),
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    }
}

async fn on_terminal(place: &Place, output: &Output) -> Result<(), CliError> {
    let sockets = Sockets::of(place);
    let caught = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT, libc::SIGWINCH, libc::SIGTSTP];
    let mut signals = Signals::listen(&caught).map_err(CliError::system("catch signals"))?;
    let mut screen = Screen::enter(output);
    let mut keys = terminal::pressed();
    loop {
        screen.show(&sockets.look(place).await);
        tokio::select! {
            signal = signals.next() => match signal {
                libc::SIGWINCH => screen.clear(),
                libc::SIGTSTP => {
                    drop(screen);
                    terminal::pause();
                    screen = Screen::enter(output);
                }
                _ => return Ok(()),
            },
            Some(pressed) = keys.recv() => match pressed {
                Pressed::Key(key) if terminal::leaves(key) => return Ok(()),
                Pressed::Key(_) | Pressed::Paste => {}
            },
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    }
}

/// The terminal while it is ours; it is given back as it was when this is dropped.
struct Screen<'a> {
    output: &'a Output,
    /// Given back after the screen.
    _keys: Keys,
    shown: Vec<Line>,
}

impl<'a> Screen<'a> {
    fn enter(output: &'a Output) -> Self {
        let keys = Keys::take();
        output.write(ENTER);
        Self { output, _keys: keys, shown: Vec::new() }
    }

    /// The size has changed: nothing of what is shown is where it was.
    fn clear(&mut self) {
        self.shown.clear();
        self.output.write("\x1b[2J");
    }

    fn show(&mut self, view: &View) {
        let (width, height) = terminal::size();
        let now = jiff::Timestamp::now().as_millisecond();
        let lines = draw(view, width, height, now, clock);
        // Only lines that differ are written: no flicker, and little over a slow connection.
        let mut text = String::new();
        for (at, line) in lines.iter().enumerate() {
            if self.shown.get(at) != Some(line) {
                let drawn = if self.output.colours { line.coloured() } else { line.text() };
                text.push_str(&format!("\x1b[{};1H\x1b[2K{drawn}", at + 1));
            }
        }
        if lines.len() < self.shown.len() {
            text.push_str(&format!("\x1b[{};1H\x1b[J", lines.len() + 1));
        }
        if !text.is_empty() {
            self.output.write(&text);
        }
        self.shown = lines;
    }
}

impl Drop for Screen<'_> {
    fn drop(&mut self) {
        self.output.write(LEAVE);
    }
}

/// A time in unix milliseconds as the clock on the wall says it.
fn clock(milliseconds: i64) -> String {
    jiff::Timestamp::from_millisecond(milliseconds)
        .map(|time| time.to_zoned(jiff::tz::TimeZone::UTC).strftime("%H:%M:%SZ").to_string())
        .unwrap_or_default()
}
