//! The byte stream of a checkpoint: a list of files, then their contents one after another.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::limits::STREAM_LIST_BYTES_MAX;

const MAGIC: &[u8; 8] = b"mvcrdb01";
/// Magic and the length of the list.
pub(crate) const PREAMBLE_LEN: usize = MAGIC.len() + 4;

/// One file of the stream.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Listed {
    /// A bare file name.
    pub name: String,
    pub len: u64,
}

/// Preamble and list.
pub(crate) fn encode(files: &[Listed]) -> Bytes {
    let mut list = BytesMut::new();
    for file in files {
        list.put_u16(u16::try_from(file.name.len()).expect("RocksDB's file names are short"));
        list.put_slice(file.name.as_bytes());
        list.put_u64(file.len);
    }
    let mut stream = BytesMut::with_capacity(PREAMBLE_LEN + list.len());
    stream.put_slice(MAGIC);
    stream.put_u32(u32::try_from(list.len()).expect("bounded by the number of files"));
    stream.put_slice(&list);
    stream.freeze()
}

/// The length of the list, from a preamble.
pub(crate) fn list_len(preamble: &[u8]) -> Result<usize, String> {
    let Some(rest) = preamble.strip_prefix(MAGIC) else {
        return Err("not a checkpoint of RocksDB tables".to_owned());
    };
    let len = rest
        .first_chunk()
        .map(|len| u32::from_be_bytes(*len) as usize)
        .unwrap_or(usize::MAX);
    if len > STREAM_LIST_BYTES_MAX {
        Err(format!("its list of files claims {len} bytes"))
    } else {
        Ok(len)
    }
}

/// The files of a list.
pub(crate) fn decode(mut list: &[u8]) -> Result<Vec<Listed>, String> {
    let cut = || "its list of files is cut short".to_owned();
    let mut files = Vec::new();
    while !list.is_empty() {
        let name_len = usize::from(list.try_get_u16().map_err(|_| cut())?);
        let (name, rest) = list.split_at_checked(name_len).ok_or_else(cut)?;
        list = rest;
        let len = list.try_get_u64().map_err(|_| cut())?;
        let name = String::from_utf8_lossy(name).into_owned();
        if !is_bare(&name) {
            return Err(format!("it names a file {name:?}"));
        }
        files.push(Listed { name, len });
    }
    Ok(files)
}

/// Whether a name from outside can only mean a file in the directory it is joined to.
fn is_bare(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !name.is_empty() && !name.starts_with('.') && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(name: &str, len: u64) -> Listed {
        Listed {
            name: name.to_owned(),
            len,
        }
    }

    #[test]
    fn a_list_reads_back() {
        let files = [
            listed("CURRENT", 16),
            listed("000012.sst", 1 << 40),
            listed("OPTIONS-000007", 0),
        ];
        let stream = encode(&files);
        assert_eq!(list_len(&stream[..PREAMBLE_LEN]), Ok(stream.len() - PREAMBLE_LEN));
        assert_eq!(decode(&stream[PREAMBLE_LEN..]).as_deref(), Ok(&files[..]));
    }

    #[test]
    fn a_name_that_leaves_the_directory_is_refused() {
        for name in ["../CURRENT", "/etc/passwd", "..", ".", "", "a/b", "a\0b"] {
            let stream = encode(&[listed(name, 1)]);
            assert!(decode(&stream[PREAMBLE_LEN..]).is_err(), "{name:?} was accepted");
        }
    }

    #[test]
    fn a_list_cut_anywhere_is_refused_or_shorter() {
        let stream = encode(&[listed("CURRENT", 16)]);
        for end in PREAMBLE_LEN + 1..stream.len() {
            assert!(decode(&stream[PREAMBLE_LEN..end]).is_err(), "cut at {end}");
        }
    }
}
