//! The channel that is not the runtime's: the supervisor writes it, and its end is kept here.

use super::wire::append;
use super::{Change, Hub, Log};
use crate::hot_tail::HotTail;
use holdfast_shared::link::{Caller, Publication};

impl Hub {
    /// A local channel's state from its owner: events after what is kept are taken; where they do not
    /// follow, or the epoch differs, its log starts anew at the first given.
    pub fn local(&mut self, name: &str, caller: Caller, epoch: &str, events: Vec<Publication>) -> Change {
        let key = match self.by_name.get(name) {
            Some(key) => *key,
            None => self.create(name, caller, true),
        };
        let limit = self.hot_tail_bytes;
        let Some(channel) = self.channels.get_mut(&key) else { return Change::None };
        let had = channel.log.as_ref().map(|log| (log.epoch.as_str(), log.tail.top()));
        let follows = |top: u64| events.first().is_none_or(|event| event.offset <= top + 1);
        let continues = had.is_some_and(|(known, top)| known == epoch && follows(top));
        let first = had.is_none();
        if !continues {
            let before = events.first().map_or(0, |event| event.offset.saturating_sub(1));
            channel.log = Some(Log { epoch: epoch.to_owned(), tail: HotTail::after(before) });
        }
        let Some(log) = channel.log.as_mut() else { return Change::None };
        let before = log.tail.top();
        append(&channel.format, log, events, limit);
        match (continues, first) {
            // Stated again without news, as with every route: nobody is woken.
            (true, _) if log.tail.top() == before => Change::None,
            (true, _) => Change::Grown(key),
            (_, true) => Change::Ready(key),
            _ => Change::Broken(key),
        }
    }
}
