//! Supervisor, keeper, holder and the operator command line.
pub mod hold;
pub mod settle;
pub mod switch;
pub mod transition;
