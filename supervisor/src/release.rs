//! What a release bundle must be like, before anything of it is unpacked and while it is (DESIGN.md 8, CONTRACTS.md
//! 1). Pure: bytes, sizes and times come in as values; `io::bundle` brings them.

mod contents;
mod error;
mod limits;
mod path;
mod rules;

pub use contents::{Contents, EntryKind};
pub use error::BundleError;
pub use limits::Limits;
pub use path::{PathFault, check_path};
pub use rules::{Rules, judge, no_common_contract, parse};

/// Path of the runtime's binary in a bundle and below a slot.
pub const RUNTIME: &str = "bin/holdfast-runtime";
/// Where a bundle has units of systemd.
pub const UNITS: &str = "units/";
/// Units that a bundle may bring, by name: those of the node itself, and none of those by which root places them.
pub const UNIT_NAMES: [&str; 4] =
    ["holdfast-end.service", "holdfast.service", "holdfast.socket", "holdfast.target"];
/// Bytes of a unit at most; ours have 4 KiB.
pub const UNIT_BYTES: u64 = 64 * 1024;

/// The unit that this path of a bundle is.
pub fn unit_name(path: &str) -> Option<&'static str> {
    let name = path.strip_prefix(UNITS)?;
    UNIT_NAMES.into_iter().find(|known| *known == name)
}

/// Path of a bundle's manifest, its first entry, and of a slot's own.
pub const MANIFEST: &str = "manifest.json";
