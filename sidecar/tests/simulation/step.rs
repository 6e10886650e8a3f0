//! What may happen, and how often.

use super::CHANNELS;
use proptest::prelude::*;

#[derive(Clone, Debug)]
pub enum Step {
    Publish {
        channel: usize,
        count: u8,
    },
    /// The runtime takes what came and answers; its publications come in pieces of this many bytes.
    Runtime {
        bytes: u16,
    },
    /// So many messages of the runtime arrive.
    Deliver(u8),
    Hold,
    Route,
    Cut,
    Open,
    Subscribe {
        browser: usize,
        channel: usize,
        from: Option<u16>,
    },
    Unsubscribe {
        browser: usize,
        channel: usize,
    },
    Command {
        browser: usize,
    },
    /// A socket takes one message.
    Take(usize),
    /// A socket goes away.
    Leave(usize),
    Wait(u16),
    /// A channel's log is lost: another epoch.
    Lose(usize),
}

pub fn step() -> impl Strategy<Value = Step> {
    let channel = 0..CHANNELS.len();
    prop_oneof![
        6 => (channel.clone(), 1..40u8).prop_map(|(channel, count)| Step::Publish { channel, count }),
        8 => (100..4000u16).prop_map(|bytes| Step::Runtime { bytes }),
        8 => (1..20u8).prop_map(Step::Deliver),
        1 => Just(Step::Hold),
        2 => Just(Step::Route),
        1 => Just(Step::Cut),
        2 => Just(Step::Open),
        4 => (0..6usize, channel.clone(), prop::option::of(0..300u16))
            .prop_map(|(browser, channel, from)| Step::Subscribe { browser, channel, from }),
        1 => (0..6usize, channel.clone())
            .prop_map(|(browser, channel)| Step::Unsubscribe { browser, channel }),
        4 => (0..6usize).prop_map(|browser| Step::Command { browser }),
        8 => (0..6usize).prop_map(Step::Take),
        1 => (0..6usize).prop_map(Step::Leave),
        2 => (1..1500u16).prop_map(Step::Wait),
        1 => channel.prop_map(Step::Lose),
    ]
}
