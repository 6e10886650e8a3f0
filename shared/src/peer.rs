//! Who a peer is: control sockets refuse workers.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The name a holder gives its process: also known where its program's file has been replaced or removed.
pub const HOLDER_NAME: &CStr = c"holdfast-hold";
/// Names of a holder that has not taken its own: of the program's file, or started by way of /proc/self/exe.
const MAY_BE_HOLDER: [&[u8]; 2] = [b"holdfast", b"exe"];
/// More ancestors than this are not followed; such a process is treated as a worker.
const ANCESTORS_MAX: usize = 1024;
/// Groups of a peer that are looked at; one in more of them than this is known by its first alone.
const GROUPS_MAX: usize = 1024;

/// Whether a peer is of our user or root, and no worker: a worker of the same user is not us, it has no say in the
/// node that runs it.
pub fn is_own(uid: u32, pid: i32) -> bool {
    let own = uid == 0 || uid == nix::unistd::geteuid().as_raw();
    own && !is_worker(pid)
}

/// Whether a connected peer is in our own group, by its first group or any other. That it could connect at all is by
/// the socket's mode: where that lets the group in, the group are the node's operators.
pub fn is_in_own_group(socket: BorrowedFd<'_>, first: u32) -> bool {
    let own = nix::unistd::getegid().as_raw();
    let mut groups: [libc::gid_t; GROUPS_MAX] = [0; GROUPS_MAX];
    let size = size_of::<libc::gid_t>();
    let mut length = libc::socklen_t::try_from(GROUPS_MAX * size).unwrap_or(0);
    // SAFETY: the kernel writes at most `length` bytes, which is the array's size, and says how many.
    let answered = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERGROUPS,
            groups.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    let count = if answered == 0 { usize::try_from(length).unwrap_or(0) / size } else { 0 };
    first == own || groups.iter().take(count).any(|group| *group == own)
}

/// Whether a process descends from a holder, i.e. is a worker or was started by one. Where that cannot be told
/// (the process is gone, say) the answer is yes.
pub fn is_worker(pid: i32) -> bool {
    descends_from_holder(pid).unwrap_or(true)
}

fn descends_from_holder(pid: i32) -> io::Result<bool> {
    let mut parent = parent(pid)?;
    for _ in 0..ANCESTORS_MAX {
        let pid = parent;
        if pid <= 1 {
            return Ok(false);
        }
        let text = std::fs::read(format!("/proc/{pid}/stat"))?;
        let stat = ProcessStat::parse(&text).ok_or_else(unreadable)?;
        // A name is given by the process itself or by its program's file, so most are no holder's by their name alone.
        match name_of(&text) {
            Some(name) if name == HOLDER_NAME.to_bytes() => return Ok(true),
            Some(name) if !MAY_BE_HOLDER.contains(&name) => {}
            _ if is_holder(&std::fs::read(format!("/proc/{pid}/cmdline"))?) => return Ok(true),
            _ => {}
        }
        parent = stat.parent;
    }
    Ok(true)
}

/// The name in a process's stat.
fn name_of(stat: &[u8]) -> Option<&[u8]> {
    let from = stat.iter().position(|byte| *byte == b'(')? + 1;
    let to = stat.iter().rposition(|byte| *byte == b')')?;
    stat.get(from..to)
}

fn unreadable() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "unreadable /proc stat")
}

/// Whether a command line (NUL-separated, as in /proc) is a holder's: `.../holdfast hold DIR`.
fn is_holder(command_line: &[u8]) -> bool {
    let mut arguments = command_line.split(|byte| *byte == 0);
    let program = arguments.next().unwrap_or_default();
    let name = program.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    name == b"holdfast" && arguments.next() == Some(b"hold")
}

/// The parent of a process, from /proc.
pub fn parent(pid: i32) -> io::Result<i32> {
    Ok(ProcessStat::read(pid)?.parent)
}

/// What /proc/PID/stat says about a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessStat {
    /// The state's letter: `Z` is a zombie.
    pub state: u8,
    /// Its parent.
    pub parent: i32,
    /// Its session.
    pub session: i32,
    /// Clock ticks since boot at its start; pid and start time name a process.
    pub start_time: u64,
}

impl ProcessStat {
    /// Reads it.
    pub fn read(pid: i32) -> io::Result<Self> {
        let text = std::fs::read(format!("/proc/{pid}/stat"))?;
        Self::parse(&text).ok_or_else(unreadable)
    }

    /// Parses it; the process's name may hold anything, also `)`.
    fn parse(text: &[u8]) -> Option<Self> {
        let behind_name = text.iter().rposition(|byte| *byte == b')')? + 1;
        let rest = std::str::from_utf8(&text[behind_name..]).ok()?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        Some(Self {
            state: *fields.first()?.as_bytes().first()?,
            parent: fields.get(1)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
            start_time: fields.get(19)?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_known_by_its_command_line() {
        assert!(is_holder(b"/opt/holdfast/bin/holdfast\0hold\0/srv/workers/x\0"));
        assert!(is_holder(b"holdfast\0hold\0x\0"));
        assert!(!is_holder(b"holdfast\0supervise\0"));
        assert!(!is_holder(b"/bin/sh\0holdfast\0hold\0"));
        assert!(!is_holder(b""));
    }

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let text = b"42 (a) R 9 (x) S 7 42 40 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 123456 1 1 0 0 0\n";
        let stat = ProcessStat { state: b'S', parent: 7, session: 40, start_time: 123_456 };
        assert_eq!(ProcessStat::parse(text), Some(stat));
    }

    #[test]
    fn a_peer_of_our_own_is_in_our_group() {
        use std::os::fd::AsFd;
        let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(is_in_own_group(ours.as_fd(), nix::unistd::getegid().as_raw()));
        let groups = nix::unistd::getgroups().unwrap();
        let also = groups.contains(&nix::unistd::getegid());
        assert_eq!(is_in_own_group(ours.as_fd(), u32::MAX), also);
    }

    #[test]
    fn this_process_is_no_worker_and_a_missing_one_is_taken_for_one() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(ProcessStat::read(own).unwrap().start_time > 0);
        assert!(!is_worker(own));
        assert!(is_worker(i32::MAX));
    }
}
