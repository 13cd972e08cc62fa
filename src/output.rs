//! Writing to standard output for people. A reader that went away (`| head`, a closed terminal) is no reason to die:
//! `println!` would panic, and `up` would leave its cluster behind.

use std::fmt::Arguments;
use std::io::Write;
use std::path::Path;

/// Like `println!`, but a closed standard output is ignored.
macro_rules! say {
    ($($argument:tt)*) => { $crate::output::line(format_args!($($argument)*)) };
}
pub(crate) use say;

pub fn line(text: Arguments) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// A path as a shell takes it for one word.
pub fn word(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,=".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.into_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_would_split_is_quoted() {
        assert_eq!(word(Path::new("/tmp/c-1.d")), "/tmp/c-1.d");
        assert_eq!(word(Path::new("/tmp/my data")), "'/tmp/my data'");
        assert_eq!(word(Path::new("it's")), r"'it'\''s'");
    }
}
