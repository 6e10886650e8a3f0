//! The real runtime process, with a supervisor, a sidecar and workers that the test plays.

#![allow(clippy::unwrap_used)]

mod agent;
mod agent_answers;
mod agent_damage;
mod agent_edges;
mod agent_ends;
mod agent_long;
mod agent_lost;
mod agent_requests;
mod agent_sessions;
mod agent_turns;
mod agent_withdrawn;
mod agents;
mod full;
mod identity;
mod link;
mod links;
mod played;
mod spools;
mod support;
mod transitions;
mod turns;
mod waiting;
