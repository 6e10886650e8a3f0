//! What of each channel may be shown: where it stands, and its events.

use super::Served;
use crate::channels::Channel;
use crate::io::history::{Asked, Found, History, HistoryError, Live, Wanted};
use crate::io::view::View;
use crate::params::Last;
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::link::{Piece, Publication};

/// Why events of a channel are not given.
#[derive(Debug)]
pub enum Unread {
    /// That part of the log is gone for good: whoever reads it begins anew.
    Gone(ApiError),
    /// The operating system refused. Later it may not.
    Refused(ApiError),
}

impl From<Unread> for ApiError {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Gone(error) | Unread::Refused(error) => error,
        }
    }
}

/// Where a channel stands.
pub struct ChannelPosition {
    /// The channel.
    pub channel: Channel,
    /// Its epoch.
    pub epoch: String,
    /// The highest offset that may be shown.
    pub top: u64,
    /// The first offset after which everything is still there.
    pub oldest: u64,
}

impl ChannelPosition {
    /// Whether a reader that has everything up to `offset` can go on without a hole.
    pub fn continues(&self, offset: u64) -> bool {
        (self.oldest..=self.top).contains(&offset)
    }
}

impl Served {
    /// A channel's epoch; `None` where there is no such channel.
    pub fn channel_epoch(&self, channel: &Channel) -> Option<&str> {
        let state = &self.folded.state;
        match channel {
            Channel::Tasks | Channel::Members => Some(&state.channel_epoch),
            Channel::Task(id) => state.task(id).map(|_| state.channel_epoch.as_str()),
            Channel::Conversation(id) => state.task(id).map(|task| task.conversation.epoch.as_str()),
        }
    }

    /// Where a channel stands.
    ///
    /// # Errors
    /// `UNKNOWN_CHANNEL`; `UNAVAILABLE` while it cannot be told how far a conversation goes.
    pub fn position(&mut self, name: &str) -> Result<ChannelPosition, ApiError> {
        let unknown = || ApiError::new(Code::UnknownChannel, format!("there is no channel {name:?}"));
        let channel = Channel::from_name(name).ok_or_else(unknown)?;
        let epoch = self.channel_epoch(&channel).ok_or_else(unknown)?.to_owned();
        if let Channel::Conversation(id) = &channel
            && self.known_outputs(id).is_none()
        {
            let message = format!("the output of task {id} cannot be read at the moment");
            return Err(ApiError::new(Code::Unavailable, message));
        }
        let top = self.top(&channel);
        let kept = crate::channels::KEPT_EVENTS as u64;
        let oldest = match &channel {
            Channel::Conversation(_) => 0,
            _ => self.log_top(&channel).saturating_sub(kept),
        };
        Ok(ChannelPosition { top, channel, epoch, oldest })
    }

    /// The highest offset of a channel that may be shown.
    pub fn top(&self, channel: &Channel) -> u64 {
        self.outbound.visible(channel, self.log_top(channel))
    }

    fn log_top(&self, channel: &Channel) -> u64 {
        let state = &self.folded.state;
        match channel {
            Channel::Tasks => state.tasks_log.top(),
            Channel::Members => state.members_log.top(),
            Channel::Task(id) => state.task(id).map_or(0, |task| task.log.top()),
            Channel::Conversation(id) => {
                let outputs = self.outputs(id);
                state.task(id).map_or(0, |task| task.conversation.top(outputs))
            }
        }
    }

    /// The events of a channel behind `offset` that may be shown: at most `limit`, about `max_bytes`.
    ///
    /// # Errors
    /// [`Unread`], as `UNAVAILABLE`.
    pub fn read(
        &mut self,
        channel: &Channel,
        offset: u64,
        limit: usize,
        max_bytes: usize,
    ) -> Result<Vec<Publication>, Unread> {
        let visible = self.top(channel);
        if offset >= visible {
            return Ok(Vec::new());
        }
        let state = &self.folded.state;
        let log = match channel {
            Channel::Tasks => Some(&state.tasks_log),
            Channel::Members => Some(&state.members_log),
            Channel::Task(id) => state.task(id).map(|task| &task.log),
            Channel::Conversation(id) => {
                return self.read_conversation(
                    &id.clone(),
                    visible,
                    Asked { after: offset, max_bytes, limit },
                );
            }
        };
        let read = log.map(|log| log.read(offset, visible, limit, max_bytes));
        read.unwrap_or_else(|| Ok(Vec::new())).map_err(|_| {
            Unread::Gone(ApiError::new(Code::Unavailable, format!("{channel:?} is cut away behind {offset}")))
        })
    }

    fn read_conversation(&mut self, id: &str, top: u64, asked: Asked) -> Result<Vec<Publication>, Unread> {
        let read = self.with_live(id, top, |history, live, index| history.read(id, live, asked, index))?;
        Ok(read.unwrap_or_default())
    }

    /// Where the last turns of a conversation begin; `None` where what they are to lie before is of another epoch, or not
    /// there.
    ///
    /// # Errors
    /// `UNKNOWN_CHANNEL`, `UNAVAILABLE` as [`Served::position`] and [`Served::read`].
    pub fn last_turns(&mut self, id: &str, last: &Last) -> Result<Option<Found>, ApiError> {
        let position = self.position(&format!("conversation:{id}"))?;
        let end = match &last.before {
            None => position.top,
            Some(at) if !at.epoch.is_empty() && at.epoch != position.epoch => return Ok(None),
            Some(at) if at.offset > position.top + 1 => return Ok(None),
            Some(at) => at.offset.saturating_sub(1),
        };
        // What waits is shown with the turns: it was queued in one of them.
        let task = self.folded.state.task(id).filter(|_| last.before.is_none());
        let waiting: Vec<String> =
            task.into_iter().flat_map(|task| &task.queue).map(|queued| queued.turn.clone()).collect();
        let wanted = Wanted {
            end,
            turns: last.turns as usize,
            max_events: last.max_events.unwrap_or(u64::MAX),
            max_bytes: last.max_bytes.unwrap_or(u64::MAX),
            waiting,
        };
        let found = self.with_live(id, position.top, |history, live, index| {
            history.last_turns(id, live, wanted, index)
        })?;
        Ok(found)
    }

    /// Reads a conversation with what of it is not in files yet; `None` where there is none.
    fn with_live<T>(
        &mut self,
        id: &str,
        top: u64,
        read: impl FnOnce(&mut History, &Live<'_>, &Option<&View>) -> Result<T, HistoryError>,
    ) -> Result<Option<T>, Unread> {
        let Some(task) = self.folded.state.task(id) else { return Ok(None) };
        let place = self.turn_place(task);
        let conversation = &task.conversation;
        let index =
            task.running.as_ref().map_or(&[][..], |running| self.spools.index_of(&running.order.spawn_id));
        let open = conversation.open.as_ref();
        let live = Live { unfiled: &conversation.unfiled, open, place, index, top };
        let read = read(&mut self.history, &live, &self.view.as_ref());
        read.map(Some).map_err(|error| {
            let message = format!("conversation {id} cannot be read: {error}");
            Unread::Refused(ApiError::new(Code::Unavailable, message))
        })
    }

    /// The answer to a read of a channel; its `id` is to be filled in.
    ///
    /// # Errors
    /// `UNKNOWN_CHANNEL`, or as [`Served::read`].
    pub fn piece(
        &mut self,
        name: &str,
        epoch: &str,
        offset: u64,
        limit: usize,
        max_bytes: usize,
    ) -> Result<Piece, ApiError> {
        let position = self.position(name)?;
        let same_epoch = epoch.is_empty() || epoch == position.epoch;
        let recovered = same_epoch && position.continues(offset);
        let publications = if recovered && limit > 0 {
            self.read(&position.channel, offset, limit, max_bytes)?
        } else {
            Vec::new()
        };
        Ok(Piece { id: 0, epoch: position.epoch, top: position.top, recovered, publications })
    }
}
