//! What a release bundle must be like, before anything of it is unpacked and while it is (DESIGN.md 8, CONTRACTS.md
//! 1). Pure: bytes, sizes and times come in as values; `io::bundle` brings them.

mod contents;
mod error;
mod path;
mod rules;

pub use contents::{Contents, EntryKind};
pub use error::BundleError;
pub use path::{PathFault, check_path};
pub use rules::{Limits, Rules, judge, no_common_contract, parse};

/// Path of the runtime's binary in a bundle and below a slot.
pub const RUNTIME: &str = "bin/holdfast-runtime";
/// Path of a bundle's manifest, its first entry, and of a slot's own.
pub const MANIFEST: &str = "manifest.json";
