//! x
/// x
pub fn mark(name: &str) {
    let t = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map(|d| d.as_micros()).unwrap_or(0);
    eprintln!("MARK {t} {name}");
}
