//! The journal's promises, on real files, with a disk that can fail and forget.
#![allow(missing_docs)]

#[path = "journal/support.rs"]
mod support;

#[path = "journal/basics.rs"]
mod basics;
