//! What this process uses, as the kernel tells it. Nothing is known where there is no `/proc`.

/// What the process uses.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    pub memory_bytes: Option<u64>,
    pub files: Option<u64>,
    pub files_max: Option<u64>,
}

impl Usage {
    pub fn read() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
        Self {
            memory_bytes: after(&status, "VmRSS:").map(|kib| kib << 10),
            files: std::fs::read_dir("/proc/self/fd")
                .ok()
                .map(|files| files.count() as u64),
            files_max: after(&limits, "Max open files"),
        }
    }
}

/// The number behind a word at the start of a line.
fn after(text: &str, word: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(word))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_behind_their_words() {
        assert_eq!(after("VmPeak: 1 kB\nVmRSS:\t  345 kB\n", "VmRSS:"), Some(345));
        assert_eq!(
            after(
                "Max open files            1024                 4096    files",
                "Max open files"
            ),
            Some(1024)
        );
        assert_eq!(after("VmRSS:", "VmRSS:"), None);
    }
}
