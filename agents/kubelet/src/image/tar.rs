//! A ustar writer. A dependency would be larger than this: images need four kinds of entry, no extensions, and
//! reproducible headers.

use std::io;

const BLOCK: usize = 512;
/// The longest path ustar can hold: a prefix of 155 bytes, a slash, a name of 100.
const NAME_MAX: usize = 100;
const PREFIX_MAX: usize = 155;

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileMode {
    /// A file with content.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link to this target.
    Symlink(String),
    /// Another name of this entry, which came earlier.
    HardLink(String),
}

/// An archive under construction, in memory.
#[derive(Debug, Clone, Default)]
pub struct Tar {
    bytes: Vec<u8>,
}

impl Tar {
    /// Adds an entry owned by root, with time zero. Fails if a path is too long for ustar.
    pub fn append(&mut self, path: &str, kind: FileMode, mode: u32, content: &[u8]) -> io::Result<()> {
        let (flag, link) = match &kind {
            FileMode::Regular => (b'0', ""),
            FileMode::HardLink(target) => (b'1', target.as_str()),
            FileMode::Symlink(target) => (b'2', target.as_str()),
            FileMode::Directory => (b'5', ""),
        };
        let path = if kind == FileMode::Directory {
            format!("{path}/")
        } else {
            path.to_owned()
        };
        let (prefix, name) = split(&path)?;
        if link.len() > NAME_MAX {
            return Err(too_long(link));
        }
        let mut header = [0u8; BLOCK];
        put(&mut header, 0, name.as_bytes());
        put(&mut header, 100, format!("{mode:07o}").as_bytes());
        put(&mut header, 108, b"0000000");
        put(&mut header, 116, b"0000000");
        put(&mut header, 124, format!("{:011o}", content.len()).as_bytes());
        put(&mut header, 136, b"00000000000");
        header[156] = flag;
        put(&mut header, 157, link.as_bytes());
        put(&mut header, 257, b"ustar\x0000");
        put(&mut header, 345, prefix.as_bytes());
        // The checksum counts its own field as spaces.
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
        put(&mut header, 148, format!("{sum:06o}\0 ").as_bytes());
        self.bytes.extend_from_slice(&header);
        self.bytes.extend_from_slice(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(BLOCK), 0);
        Ok(())
    }

    /// The archive, closed by two empty blocks.
    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len() + 2 * BLOCK, 0);
        self.bytes
    }
}

fn put(header: &mut [u8; BLOCK], at: usize, bytes: &[u8]) {
    header[at..at + bytes.len()].copy_from_slice(bytes);
}

fn split(path: &str) -> io::Result<(&str, &str)> {
    if path.len() <= NAME_MAX {
        return Ok(("", path));
    }
    let at = path
        .char_indices()
        .filter(|(i, c)| *c == '/' && *i <= PREFIX_MAX && path.len() - i - 1 <= NAME_MAX && i + 1 < path.len())
        .map(|(i, _)| i)
        .next_back();
    at.map(|i| (&path[..i], &path[i + 1..])).ok_or_else(|| too_long(path))
}

fn too_long(path: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("path too long for a ustar archive: {path}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_has_size_and_checksum() {
        let mut tar = Tar::default();
        tar.append("etc/passwd", FileMode::Regular, 0o644, b"root").unwrap();
        let bytes = tar.finish();
        assert_eq!(bytes.len(), 4 * BLOCK);
        assert_eq!(&bytes[0..10], b"etc/passwd");
        assert_eq!(&bytes[124..135], b"00000000004");
        assert_eq!(&bytes[257..263], b"ustar\0");
        let mut header = bytes[..BLOCK].to_vec();
        let stored = u32::from_str_radix(std::str::from_utf8(&header[148..154]).unwrap(), 8).unwrap();
        header[148..156].fill(b' ');
        assert_eq!(stored, header.iter().map(|b| u32::from(*b)).sum::<u32>());
    }

    #[test]
    fn long_paths_are_split_or_refused() {
        let mut tar = Tar::default();
        let long = format!("{}/{}", "a".repeat(120), "b".repeat(90));
        tar.append(&long, FileMode::Regular, 0o644, b"").unwrap();
        let error = tar.append(&"c".repeat(101), FileMode::Regular, 0o644, b"").unwrap_err();
        assert!(error.to_string().contains("too long"));
    }
}
