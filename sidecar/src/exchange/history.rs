//! History commands: pieces of a channel's log, oldest or newest first.

use super::calls::{Answer, unavailable};
use super::{Exchange, History, Limit, Now, temporarily};
use crate::cursor::Pushes;
use crate::hub::Log;
use crate::pending::Asker;
use crate::protocol::{self, CommandError, HistoryRequest, PushFormat};
use crate::reads::{PIECE_PUBLICATIONS, ReadSpec, Reader};
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::link::{Caller, Piece};

/// Publications of one history reply with the newest first: as many records of 16 KiB as fit a piece.
const REVERSE_PUBLICATIONS: u64 = 15;

impl Exchange {
    /// An HTTP request reads history.
    pub fn history_http(&mut self, ticket: u64, caller: Caller, request: HistoryRequest, now: Now) {
        self.history(Asker::Http(ticket), request, caller, now);
    }

    pub(super) fn history(&mut self, asker: Asker, request: HistoryRequest, caller: Caller, now: Now) {
        if request.channel == super::NODE_CHANNEL {
            return self.node_history(asker, &request);
        }
        if !caller.scope.has_channel(&request.channel) {
            let error = ApiError::new(Code::Forbidden, "this token's scope does not allow this channel");
            return self.answer(asker, Err(error));
        }
        if self.unavailable(now) {
            return self.answer(asker, Err(unavailable()));
        }
        let number = self.number();
        let after = match (&request.since, request.reverse) {
            (Some(since), false) => since.offset,
            _ => 0,
        };
        // Newest first begins with the question where the end is.
        let limit = if request.reverse { 0 } else { piece_limit(request.limit) };
        let since_epoch = request.since.as_ref().map(|since| since.epoch.clone()).unwrap_or_default();
        let spec = ReadSpec {
            channel: request.channel.clone(),
            key: None,
            epoch: since_epoch,
            after,
            limit,
            caller: caller.clone(),
        };
        self.histories.insert(number, History { asker, request, caller });
        self.limit(self.settings.call_within_ms, Limit::History(number), now);
        self.read(spec, Reader::History { asker, number });
    }

    pub(super) fn history_overdue(&mut self, number: u64) {
        if let Some(history) = self.histories.remove(&number) {
            self.forget_readers();
            self.answer(history.asker, Err(temporarily("the history could not be read in time")));
        }
    }

    fn node_history(&mut self, asker: Asker, request: &HistoryRequest) {
        let Some(channel) = self.hub.by_name(super::NODE_CHANNEL) else {
            return self.answer(asker, Err(temporarily("the node's state is not known yet")));
        };
        let fields = channel.log.as_ref().and_then(|log| log_history(log, &channel.format, request));
        match fields {
            Some(fields) => self.answer(asker, Ok(Answer::History(fields))),
            None => self.unrecoverable(asker),
        }
    }

    fn unrecoverable(&mut self, asker: Asker) {
        match asker {
            Asker::Session { session, command } => {
                let reply = protocol::error_reply(command, &CommandError::unrecoverable_position());
                if let Some(open) = self.sessions.get_mut(&session) {
                    open.answered(command, reply);
                    self.wake(session);
                }
            }
            Asker::Http(_) => {
                let error =
                    ApiError::new(Code::InvalidRequest, "the log does not reach back to that position");
                self.answer(asker, Err(error));
            }
        }
    }

    /// A piece came for a history command.
    pub(super) fn history_piece(&mut self, number: u64, spec: &ReadSpec, piece: &Piece, pushes: &Pushes) {
        let Some(history) = self.histories.get(&number) else { return };
        let (asker, reverse) = (history.asker, history.request.reverse);
        if !piece.recovered {
            self.histories.remove(&number);
            return self.unrecoverable(asker);
        }
        if reverse && spec.limit == 0 {
            return self.read_backwards(number, piece);
        }
        let Some(history) = self.histories.remove(&number) else { return };
        let format = PushFormat::new(&spec.channel);
        let texts = pushes.pushes.iter().map(|push| format.publication(push));
        let wanted = piece_limit(history.request.limit) as usize;
        let fields = if reverse {
            let end = history.request.since.map_or(u64::MAX, |since| since.offset);
            let older: Vec<&[u8]> = (pushes.after + 1..)
                .zip(texts)
                .take_while(|(at, _)| *at < end)
                .map(|(_, text)| text)
                .collect();
            protocol::history_result(&piece.epoch, piece.top, older.into_iter().rev().take(wanted))
        } else {
            protocol::history_result(&piece.epoch, piece.top, texts.take(wanted))
        };
        self.answer(asker, Ok(Answer::History(fields)));
    }

    /// The end is known: reads the last ones before it. Only so many are asked that a piece holds them all
    /// even if they are as large as output records become, so that it is never cut at its newer end.
    fn read_backwards(&mut self, number: u64, top: &Piece) {
        let Some(history) = self.histories.get(&number) else { return };
        // Nothing lies before the first one.
        let before =
            history.request.since.as_ref().map_or(top.top + 1, |since| since.offset.clamp(1, top.top + 1));
        let count = u64::from(piece_limit(history.request.limit)).min(REVERSE_PUBLICATIONS).min(before - 1);
        let (asker, caller, channel) =
            (history.asker, history.caller.clone(), history.request.channel.clone());
        if count == 0 {
            self.histories.remove(&number);
            let fields = protocol::history_result(&top.epoch, top.top, std::iter::empty());
            return self.answer(asker, Ok(Answer::History(fields)));
        }
        let after = before - 1 - count;
        let spec =
            ReadSpec { channel, key: None, epoch: top.epoch.clone(), after, limit: count as u32, caller };
        self.read(spec, Reader::History { asker, number });
    }
}

/// A history reply from a log that is here as a whole; `None`: it does not reach back to the position.
fn log_history(log: &Log, format: &PushFormat, request: &HistoryRequest) -> Option<Vec<u8>> {
    let top = log.tail.top();
    let all: Vec<&[u8]> = log.tail.since(0).map(|push| format.publication(push)).collect();
    let first = top + 1 - all.len() as u64;
    let wanted = piece_limit(request.limit) as usize;
    let since = request.since.as_ref();
    if since.is_some_and(|since| !since.epoch.is_empty() && since.epoch != log.epoch) {
        return None;
    }
    if request.reverse {
        let older = since.map_or(all.len() as u64, |since| since.offset.saturating_sub(first));
        let older = all.into_iter().take(older as usize).rev().take(wanted);
        return Some(protocol::history_result(&log.epoch, top, older));
    }
    let skipped = match since {
        Some(since) if since.offset + 1 < first || since.offset > top => return None,
        Some(since) => since.offset + 1 - first,
        None => 0,
    };
    let newer = all.into_iter().skip(skipped as usize).take(wanted);
    Some(protocol::history_result(&log.epoch, top, newer))
}

fn piece_limit(limit: i64) -> u32 {
    u32::try_from(limit).unwrap_or(PIECE_PUBLICATIONS).min(PIECE_PUBLICATIONS)
}
