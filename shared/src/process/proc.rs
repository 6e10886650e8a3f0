//! What `/proc` says about a process.

use std::io;

/// Field 22 of `/proc/<pid>/stat`, counted from behind the command name, which may hold anything.
const START_TIME_AFTER_NAME: usize = 19;

/// When the process was started, in clock ticks since boot; (pid, start time) names a process until reboot.
///
/// # Errors
/// `NotFound` when there is no such process.
pub fn start_time(pid: i32) -> io::Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    parse_start_time(&stat)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/stat: {stat:?}")))
}

fn parse_start_time(stat: &str) -> Option<u64> {
    let behind_name = &stat[stat.rfind(')')? + 1..];
    behind_name.split_ascii_whitespace().nth(START_TIME_AFTER_NAME)?.parse().ok()
}

/// The kernel's id of this boot, a UUID.
///
/// # Errors
/// When `/proc` is not there.
pub fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_name_cannot_shift_the_fields() {
        let stat = "7 (a) b) (c) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 9 9";
        assert_eq!(parse_start_time(stat), Some(4711));
    }

    #[test]
    fn our_own_start_time_is_there_and_does_not_change() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert_eq!(start_time(pid).unwrap(), start_time(pid).unwrap());
        assert_eq!(start_time(i32::MAX).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
