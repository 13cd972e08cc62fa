//! Giving back memory that only the start needed.
//!
//! Every page of the program that a process has touched counts as its resident memory, with 15 neighbours each, and a start
//! touches most of it. What waits from then on, `up` and process 1 of a node, needs next to nothing of that.

use std::ffi::c_void;

/// Drops the pages of this program's code from this process. What is needed is read again from the file. Nothing happens
/// where that is not possible.
pub fn code() {
    let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else {
        return;
    };
    let program = std::env::current_exe().unwrap_or_default();
    for (start, length) in maps
        .lines()
        .filter_map(|line| code_of(line, &program.to_string_lossy()))
    {
        // SAFETY: the range is a whole mapping of the program's file that nobody can have written to (its rights are read and
        // execute), so that the file has everything that is dropped.
        #[allow(unsafe_code)]
        let _ = unsafe { libc::madvise(start as *mut c_void, length, libc::MADV_DONTNEED) };
    }
}

/// Start and length of the mapping that a line of `/proc/self/maps` tells of, if it is code of `program`.
fn code_of(line: &str, program: &str) -> Option<(usize, usize)> {
    let mut words = line.split_ascii_whitespace();
    let (range, rights) = (words.next()?, words.next()?);
    if rights != "r-xp" || words.nth(3) != Some(program) || words.next().is_some() {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    Some((address(start)?, address(end)?.checked_sub(address(start)?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_programs_own_code_is_dropped() {
        let line = |rights: &str, path: &str| format!("7f00a000-7f00c000 {rights} 0001f000 fd:00 1234   {path}");
        assert_eq!(
            code_of(&line("r-xp", "/a/proreus"), "/a/proreus"),
            Some((0x7f00_a000, 0x2000))
        );
        for (rights, path) in [
            ("r--p", "/a/proreus"),
            ("rw-p", "/a/proreus"),
            ("r-xp", "/lib/libc.so"),
            ("r-xp", "/a/proreus (deleted)"),
        ] {
            assert_eq!(code_of(&line(rights, path), "/a/proreus"), None, "{rights} {path}");
        }
        assert_eq!(code_of("", "/a"), None);
    }

    /// KiB of the program's code that this process has mapped pages of.
    fn resident() -> u64 {
        let program = std::env::current_exe().unwrap();
        let text = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut counts = false;
        let mut sum = 0;
        for line in text.lines() {
            match line.strip_prefix("Rss:") {
                Some(size) if counts => sum += size.trim().trim_end_matches(" kB").parse::<u64>().unwrap(),
                None if line.contains('-') => counts = code_of(line, &program.to_string_lossy()).is_some(),
                _ => {}
            }
        }
        sum
    }

    #[test]
    fn dropped_code_is_resident_no_more_and_still_runs() {
        let before = resident();
        code();
        let after = resident();
        assert!(before > 0 && after < before, "{before} KiB, then {after}");
    }
}
