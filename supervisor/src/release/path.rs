//! Which paths a bundle may have. Pure.

/// Longer than any of ours, and short enough for the plain header of a tar entry (100 bytes and a prefix of 155).
const PATH_BYTES: usize = 200;
/// Directories deep.
const COMPONENTS: usize = 8;

/// What is wrong with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathFault {
    /// Nothing at all.
    #[error("it is empty")]
    Empty,
    /// It begins at the root.
    #[error("it is absolute")]
    Absolute,
    /// It goes up.
    #[error("it has a `..`")]
    Parent,
    /// `.`, `//` or a `/` at the end: two spellings of one file.
    #[error("it is not in its shortest form")]
    NotShortest,
    /// Bytes that are no text.
    #[error("it is not UTF-8")]
    NotUtf8,
    /// Characters that no file of ours has.
    #[error("it has characters other than letters, digits and . _ - + @")]
    Character,
    /// Too long, or too deep.
    #[error("it is longer than {PATH_BYTES} bytes or deeper than {COMPONENTS} directories")]
    TooLong,
    /// The name of the manifest, or one file below another.
    #[error("it is where another file is")]
    Taken,
}

/// The path as text, when it names a file below the slot and has no other spelling.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn check_path(path: &[u8]) -> Result<&str, PathFault> {
    if path.is_empty() {
        return Err(PathFault::Empty);
    }
    if path.len() > PATH_BYTES {
        return Err(PathFault::TooLong);
    }
    let text = std::str::from_utf8(path).map_err(|_| PathFault::NotUtf8)?;
    if text.starts_with('/') {
        return Err(PathFault::Absolute);
    }
    let mut depth = 0;
    for component in text.split('/') {
        depth += 1;
        match component {
            ".." => return Err(PathFault::Parent),
            "" | "." => return Err(PathFault::NotShortest),
            name if !name.bytes().all(is_ours) => return Err(PathFault::Character),
            _ => {}
        }
    }
    if depth > COMPONENTS { Err(PathFault::TooLong) } else { Ok(text) }
}

fn is_ours(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'+' | b'@')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_leave_the_slot_or_have_a_second_spelling_are_refused() {
        let long = vec![b'a'; PATH_BYTES + 1];
        let cases: [(&[u8], PathFault); 16] = [
            (b"", PathFault::Empty),
            (b"/etc/passwd", PathFault::Absolute),
            (b"/", PathFault::Absolute),
            (b"..", PathFault::Parent),
            (b"../a", PathFault::Parent),
            (b"bin/../../a", PathFault::Parent),
            (b"bin/..", PathFault::Parent),
            (b".", PathFault::NotShortest),
            (b"./bin/a", PathFault::NotShortest),
            (b"bin//a", PathFault::NotShortest),
            (b"bin/", PathFault::NotShortest),
            (b"bin/\xff", PathFault::NotUtf8),
            (b"bin/a\0b", PathFault::Character),
            (b"bin\\a", PathFault::Character),
            (b"a/b/c/d/e/f/g/h/i", PathFault::TooLong),
            (&long, PathFault::TooLong),
        ];
        for (path, fault) in cases {
            assert_eq!(check_path(path), Err(fault), "{}", String::from_utf8_lossy(path));
        }
    }

    #[test]
    fn our_own_paths_are_fine() {
        for path in ["bin/holdfast", "bin/holdfast-runtime", "units/holdfast@.service", "a/...b/c", "..a"] {
            assert_eq!(check_path(path.as_bytes()), Ok(path));
        }
    }
}
