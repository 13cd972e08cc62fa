//! Writing to standard output for people. A reader that went away (`| head`, a closed terminal) is no reason to die:
//! `println!` would panic, and `up` would leave its cluster behind.

use std::fmt::Arguments;
use std::io::Write;

/// Like `println!`, but a closed standard output is ignored.
macro_rules! say {
    ($($argument:tt)*) => { $crate::output::line(format_args!($($argument)*)) };
}
pub(crate) use say;

pub fn line(text: Arguments) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
