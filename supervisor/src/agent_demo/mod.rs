//! `holdfast agent-demo`: a small agent that speaks the Agent Client Protocol on stdin and stdout and does what its prompt
//! says. For first sessions and tests: the same prompt always gives the same updates.

mod agent;
mod io;
mod memory;
mod script;
mod turn;
mod updates;

use agent::Agent;
use std::process::ExitCode;

/// What `--help` says of the words of a prompt.
pub const WORDS: &str = "\
The prompt is a script: words separated by newlines or ';'. A prompt without known words is echoed.

  say TEXT              a piece of the answer
  think TEXT            a piece of thought
  plan A|B|...          a plan with these entries
  tool NAME             a tool call from its beginning to its end
  edit PATH OLD|NEW     a tool call that shows a difference (and changes nothing)
  permit NAME           asks for permission and says what was answered; mode `code` does not ask
  read PATH             reads a file through the client and says it
  write PATH TEXT       writes a file through the client
  run COMMAND           runs a shell command line in a terminal of the client and says its output
  sleep MS              waits
  count N [EVERY_MS]    says 1 to N, each in an update of its own
  remember TEXT         keeps a text for this session, also when it is loaded by another process
  secret                says what was kept
  usage USED SIZE       tokens used, of a context of this size
  junk                  a line on stdout that is no JSON
  long BYTES            an update whose line has so many bytes
  stderr TEXT           a line on stderr
  die CODE              ends the process with this code
  hang                  does nothing any more, whatever comes; only a signal ends it
  fail                  answers the prompt with an error

It ends with end_turn; when it is cancelled, with cancelled. Sessions are kept in .holdfast-demo in the directory that
the client names.";

/// Serves until stdin ends or a prompt says `die`.
pub fn run() -> ExitCode {
    match Agent::start().serve() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("holdfast agent-demo: {error}");
            ExitCode::FAILURE
        }
    }
}
