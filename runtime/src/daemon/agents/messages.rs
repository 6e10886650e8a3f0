//! What is written to agents: the handshake's messages, then those that were decided on, in the order of their numbers.

use super::super::active::Active;
use crate::acp::answer::Refusal;
use crate::acp::line::RequestId;
use crate::acp::{outgoing, permission};
use crate::agent::{Sent, What, terminal_name};
use crate::io::files;
use crate::turn::TurnState;
use holdfast_shared::error::ApiError;
use holdfast_shared::inbox::Message;
use std::time::{Duration, Instant};

/// After a session was taken up, some agents replay what was said only behind their answer: the first turn waits for
/// so long a silence, so that a replay is not taken for the turn's.
const QUIET: Duration = Duration::from_millis(250);
/// It waits no longer than this.
const QUIET_LONGEST: Duration = Duration::from_secs(2);
/// Until the silence is looked at again.
const QUIET_LOOK: Duration = Duration::from_millis(50);

/// What a message needs of the task.
struct About {
    task: String,
    worker: String,
    session: String,
    /// The running turn's prompt.
    text: String,
    /// That turn is to be cancelled.
    cancelling: bool,
    /// Messages up to this one are taken.
    consumed: u64,
    /// Messages up to this one are written or taken.
    told: u64,
    messages: Vec<Sent>,
    resumed: bool,
    /// No turn was marked yet.
    opening: bool,
}

impl Active {
    /// Writes whatever the agent is to be told and was not yet.
    pub(super) fn tell_agent(&mut self, id: &str) {
        if self.open_agent(id) {
            return;
        }
        self.forget_answered(id);
        let Some(about) = self.about(id) else { return };
        self.workers.release_inbox(&about.worker, about.consumed);
        for sent in &about.messages {
            if sent.number <= about.told {
                continue;
            }
            if matches!(sent.what, What::Mark(_))
                && (self.waits_for_room(&about) || self.waits_for_silence(&about))
            {
                return;
            }
            let message = self.message(&about, sent).or_else(|| self.overtaken(&about, sent));
            let Some(message) = message else { return };
            if !self.tell(&about.worker, sent.number, &message) {
                return;
            }
        }
    }

    /// The messages of the handshake; whether it goes on.
    fn open_agent(&mut self, id: &str) -> bool {
        let Some((wanted, worker)) = self.handshake_wanted(id) else { return false };
        let (opened, consumed) = {
            let served = self.shared.borrow();
            let opened = served.spools.dialogue(&worker).and_then(|dialogue| dialogue.opened(wanted));
            (opened, served.spools.consumed(&worker))
        };
        let told = self.workers.told(&worker).max(consumed);
        for message in opened.into_iter().flat_map(|opened| opened.messages) {
            let input = Message::Input { bytes: message.bytes };
            if message.number > told && !self.tell(&worker, message.number, &input) {
                break;
            }
        }
        true
    }

    fn about(&self, id: &str) -> Option<About> {
        let served = self.shared.borrow();
        let task = served.folded.state.task(id)?;
        let agent = task.agent.as_ref()?;
        let worker = agent.worker.as_ref().filter(|worker| worker.ready && worker.ending.is_none())?;
        let session = agent.session.as_ref()?;
        let consumed = served.spools.consumed(&worker.spawn_id);
        let told = self.workers.told(&worker.spawn_id).max(consumed);
        let running = task.running.as_ref();
        Some(About {
            task: id.to_owned(),
            worker: worker.spawn_id.clone(),
            session: session.id.clone(),
            text: running.map(|running| running.order.text.clone()).unwrap_or_default(),
            cancelling: running.is_some_and(|running| running.state == TurnState::Cancelling),
            consumed,
            told,
            messages: worker.messages.clone(),
            resumed: session.resumed,
            opening: served.spools.turn(&worker.spawn_id).is_empty(),
        })
    }

    /// What a message says; `None` while it is not known yet.
    fn message(&mut self, about: &About, sent: &Sent) -> Option<Message> {
        let request_id = |id: &str| RequestId::new(id).or_else(|| RequestId::new("null"));
        let bytes = match &sent.what {
            What::Mark(turn) => return Some(Message::TurnMark { turn: turn.clone() }),
            What::Prompt => outgoing::session_prompt(sent.number, &about.session, &about.text),
            What::Cancel => outgoing::session_cancel(&about.session),
            What::Mode(mode) => outgoing::session_set_mode(sent.number, &about.session, mode),
            What::Answer { id, called_off: true, .. } => called_off(&request_id(id)?),
            What::Answer { seq, id, terminal, .. } => {
                let request = (*seq, &request_id(id)?);
                self.answer_to(&about.task, &about.worker, request, terminal.as_deref())?
            }
            What::Permission { id, withdrawn: true, .. } => called_off(&request_id(id)?),
            What::Permission { id, option, .. } => {
                let result = option.as_deref().map_or_else(permission::cancelled, permission::selected);
                outgoing::reply_result(&request_id(id)?, &result)
            }
        };
        Some(Message::Input { bytes })
    }

    /// A prompt that was taken before the disk was nearly full, a queued one above all, waits until there is room; it is
    /// looked at again with each tick. One that is being cancelled goes with its cancel.
    fn waits_for_room(&mut self, about: &About) -> bool {
        let no_room = self.no_room().filter(|_| !about.cancelling);
        let held = self.agents.entry(about.worker.clone()).or_default();
        let waited = std::mem::replace(&mut held.waits_for_room, no_room.is_some());
        if let Some(error) = no_room.as_ref().filter(|_| !waited) {
            tracing::warn!(task = about.task, %error, "a prompt waits");
        }
        no_room.is_some()
    }

    /// Why no agent may be given a prompt now.
    pub(in crate::daemon) fn no_room(&self) -> Option<ApiError> {
        files::no_room(&self.shared.borrow().home, self.settings.min_free_bytes)
    }

    /// A cancel does not wait for an answer that is not known yet: that request is cancelled too. A command that it
    /// asked for is not wanted then.
    fn overtaken(&self, about: &About, sent: &Sent) -> Option<Message> {
        let What::Answer { seq, id, .. } = &sent.what else { return None };
        let behind = about.messages.iter().filter(|other| other.number > sent.number);
        if !behind.into_iter().any(|other| other.what == What::Cancel) {
            return None;
        }
        if let Some(called_off) = self.creating.get(&terminal_name(&about.worker, *seq)) {
            called_off.set(true);
        }
        Some(Message::Input { bytes: called_off(&RequestId::new(id)?) })
    }

    fn waits_for_silence(&mut self, about: &About) -> bool {
        if !about.resumed || !about.opening {
            return false;
        }
        let held = self.agents.entry(about.worker.clone()).or_default();
        let waited = held.ready_at.get_or_insert_with(Instant::now).elapsed();
        let silent = self.shared.borrow().spools.silent_for(&about.worker).unwrap_or(waited);
        let waits = waited < QUIET_LONGEST && silent < QUIET;
        if waits {
            self.look_later(&about.task, &about.worker, QUIET_LOOK);
        }
        waits
    }

    /// Whether it was written.
    fn tell(&mut self, worker: &str, number: u64, message: &Message) -> bool {
        match self.workers.tell(worker, number, message) {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(%error, worker, number, "agent cannot be told");
                if error.is_disk_full() {
                    self.make_room_for_a_message();
                }
                false
            }
        }
    }

    /// Only what its messages still need is kept of what the agent asked. What they needed before is not to be had from
    /// the journal: each record that says what was consumed drops those messages.
    fn forget_answered(&mut self, id: &str) {
        let mut served = self.shared.borrow_mut();
        let served = &mut *served;
        let Some(task) = served.folded.state.task(id) else { return };
        let Some(worker) = task.agent.as_ref().and_then(|agent| agent.worker.as_ref()) else { return };
        let needed = worker.needed(served.spools.consumed(&worker.spawn_id));
        if let Some(held) = self.agents.get_mut(&worker.spawn_id) {
            held.answers.retain(|seq, _| needed.contains(seq));
        }
        let turn = served.spools.turn(&worker.spawn_id);
        let in_turn = task.running.as_ref().is_some_and(|running| running.turn == turn);
        let open = task.conversation.open.as_ref().filter(|_| in_turn);
        served.spools.settle(&worker.spawn_id, worker.taken_to, needed);
        // Those of a turn are answered by people in any order; those of none are taken like all else.
        served.spools.forget_permissions(&worker.spawn_id, |seq| match open {
            Some(span) => seq <= worker.settled_to || span.permission(seq).is_some(),
            None => seq <= worker.taken_to.max(worker.settled_to),
        });
    }
}

/// What answers a request that is not served any more.
fn called_off(id: &RequestId) -> Vec<u8> {
    let Refusal { code, message } = Refusal::cancelled();
    outgoing::reply_error(id, code, &message)
}
