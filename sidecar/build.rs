//! Embeds the console page: every file of `console/` that a browser loads, by name.

use std::fmt::Write;
use std::path::Path;
use std::{env, fs, io};

const LOADED: [(&str, &str); 4] = [
    ("html", "text/html; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("svg", "image/svg+xml"),
];

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=console");
    let console = Path::new(&env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?).join("console");
    let mut files: Vec<_> = match fs::read_dir(&console) {
        Ok(entries) => entries.collect::<io::Result<Vec<_>>>()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    files.sort_by_key(fs::DirEntry::file_name);
    let mut table = String::from("&[\n");
    for file in files {
        let path = file.path();
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        let Some((_, kind)) = LOADED.iter().find(|(loaded, _)| *loaded == extension) else { continue };
        let name = file.file_name();
        let _ = writeln!(table, "({name:?}, {kind:?}, include_bytes!({path:?})),");
    }
    table.push(']');
    let out = Path::new(&env::var("OUT_DIR").map_err(io::Error::other)?).join("console_files.rs");
    fs::write(out, table)
}
