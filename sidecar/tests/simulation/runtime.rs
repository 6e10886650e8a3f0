//! The runtime's end of the link.

use super::CHANNELS;
use bytes::{Bytes, BytesMut};
use holdfast_shared::link::frame::{self, Decoder};
use holdfast_shared::link::window::SendWindow;
use holdfast_shared::link::{Piece, Publication, Publications, ToRuntime, ToSidecar};
use serde_json::json;
use serde_json::value::to_raw_value;
use std::collections::BTreeMap;

pub struct Log {
    pub epoch: u32,
    pub events: Vec<Bytes>,
}

/// The runtimes' side: one log and one memory of answers, whoever is active.
pub struct Runtime {
    pub logs: Vec<Log>,
    pub answers: BTreeMap<String, u64>,
    pub executed: Vec<String>,
    pub link: Option<RuntimeLink>,
}

pub struct RuntimeLink {
    pub number: u64,
    pub epoch: u64,
    pub decoder: Decoder,
    /// Number, channel, epoch of its log, next offset.
    pub following: Vec<(u32, usize, u32, u64)>,
    pub window: SendWindow,
    pub out: BytesMut,
}

impl Runtime {
    pub fn take(&mut self, link: &mut RuntimeLink, message: ToRuntime, piece_bytes: usize) {
        let epoch = link.epoch;
        match message {
            ToRuntime::Subscribe { no, channel, epoch: known, offset, .. } => {
                let index = CHANNELS.iter().position(|name| *name == channel).unwrap();
                let log = &self.logs[index];
                let top = log.events.len() as u64;
                let same = known.is_empty() || known == log.epoch.to_string();
                let recovered = same && offset.is_none_or(|offset| offset <= top);
                let from = offset.filter(|_| recovered).unwrap_or(top);
                let (name, log_epoch) = (log.epoch.to_string(), log.epoch);
                let answer = ToSidecar::Subscribed { no, epoch: name, top, from, recovered };
                frame::encode_json(epoch, &answer, &mut link.out);
                link.following.push((no, index, log_epoch, from + 1));
            }
            ToRuntime::Unsubscribe { no } => link.following.retain(|(number, ..)| *number != no),
            ToRuntime::Call { id, command_id, .. } => {
                let executed = &mut self.executed;
                let count = *self.answers.entry(command_id.clone()).or_insert_with(|| {
                    executed.push(command_id);
                    executed.len() as u64
                });
                let result = Some(to_raw_value(&json!({"count": count})).unwrap());
                frame::encode_json(epoch, &ToSidecar::Reply { id, result, error: None }, &mut link.out);
            }
            ToRuntime::Read { id, channel, epoch: known, offset, limit, .. } => {
                let index = CHANNELS.iter().position(|name| *name == channel).unwrap();
                let log = &self.logs[index];
                let top = log.events.len() as u64;
                let recovered = (known.is_empty() || known == log.epoch.to_string()) && offset <= top;
                let from = usize::try_from(offset.min(top)).unwrap();
                let mut bytes = 0;
                let publications = (offset + 1..)
                    .zip(log.events[from..].iter().take(if recovered { limit as usize } else { 0 }))
                    .take_while(|(_, data)| {
                        bytes += data.len();
                        bytes <= piece_bytes || bytes == data.len()
                    })
                    .map(|(offset, data)| Publication { offset, data: data.clone() })
                    .collect();
                let piece = Piece { id, epoch: log.epoch.to_string(), top, recovered, publications };
                frame::encode_piece(epoch, &piece, &mut link.out);
            }
            ToRuntime::Window { bytes } => link.window.granted(bytes),
            ToRuntime::Hello { .. } => panic!("the exchange says no hello"),
        }
    }

    pub fn publish(&mut self, link: &mut RuntimeLink, bytes: usize) {
        let mut index = 0;
        while index < link.following.len() {
            let (no, channel, log_epoch, next) = link.following[index];
            let log = &self.logs[channel];
            if log.epoch != log_epoch {
                link.following.remove(index);
                frame::encode_json(link.epoch, &ToSidecar::Reset { no }, &mut link.out);
                continue;
            }
            index += 1;
            let from = usize::try_from(next - 1).unwrap();
            let count = (bytes / 60).max(1);
            let publications: Vec<Publication> = (next..)
                .zip(log.events[from..].iter().take(count))
                .map(|(offset, data)| Publication { offset, data: data.clone() })
                .collect();
            if publications.is_empty() || !link.window.open() {
                continue;
            }
            link.following[index - 1].3 += publications.len() as u64;
            let message = Publications { no, publications };
            let sent = frame::encode_publications(link.epoch, &message, &mut link.out);
            link.window.sent(sent);
        }
    }
}
