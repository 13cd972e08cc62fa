//! Bit flips in the files of one member, always the same one of a test: a minority may be damaged, and must either
//! notice and refuse, or serve only what is right.

use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, index};

use crate::cluster::Cluster;

/// Bits flipped at a time.
const FLIPS: usize = 8;
/// Files with no more than this in them are left alone.
const SMALL_BYTES: u64 = 256;

pub(super) fn flip(cluster: &Cluster, random: &mut StdRng) -> anyhow::Result<String> {
    let all = 0..cluster.len();
    let any = random.random_range(all.clone());
    let victim = all
        .into_iter()
        .find(|member| cluster.is_damaged(*member))
        .unwrap_or(any);
    anyhow::ensure!(
        !cluster.refuses(victim),
        "{} refuses to run since its files were damaged, and reads no more of them",
        cluster.name(victim)
    );
    cluster.kill(victim);
    cluster.damage(victim);
    let what = flip_below(&cluster.db.data(victim), random)?;
    cluster.start(victim)?;
    Ok(format!("{what} of {}", cluster.name(victim)))
}

/// Whether there is a file in a directory that would be damaged.
pub(super) fn is_worth_it(directory: &Path) -> bool {
    let files = std::fs::read_dir(directory).into_iter().flatten().flatten();
    files.into_iter().any(|file| {
        file.metadata()
            .is_ok_and(|data| data.is_file() && data.len() > SMALL_BYTES)
    })
}

/// Flips bits in one file below a directory. Says in which.
pub(super) fn flip_below(directory: &Path, random: &mut StdRng) -> anyhow::Result<String> {
    let mut files = Vec::new();
    list(directory, &mut files)?;
    // Flips in the small files that only name others are soon told; those in data are what a member must not overlook.
    files.retain(|file| file.metadata().is_ok_and(|data| data.len() > SMALL_BYTES));
    files.sort();
    let (file, mut open, len) = loop {
        let file = choose(&files, random)
            .context("there are no files with anything in them")?
            .clone();
        let mut open = OpenOptions::new().read(true).write(true).open(&file)?;
        // Files are filled ahead with zeroes: a flip far behind what was written would tell nothing.
        let len = written(&mut open)?;
        if len > SMALL_BYTES {
            break (file, open, len);
        }
        files.retain(|other| *other != file);
    };
    // No bit twice: it would be as it was.
    for place in index::sample(random, usize::try_from(len * 8)?, FLIPS) {
        let (at, bit) = (place as u64 / 8, place % 8);
        let mut byte = [0];
        open.seek(SeekFrom::Start(at))?;
        open.read_exact(&mut byte)?;
        open.seek(SeekFrom::Start(at))?;
        open.write_all(&[byte[0] ^ (1 << bit)])?;
    }
    open.sync_all()?;
    let name = file.strip_prefix(directory).unwrap_or(&file);
    Ok(format!("{FLIPS} bits in the first {len} bytes of {}", name.display()))
}

/// Any file, one by its size (the log is few files and most of the data), or one of the tables, if there are some.
fn choose<'a>(files: &'a [PathBuf], random: &mut StdRng) -> Option<&'a PathBuf> {
    let size = |file: &PathBuf| file.metadata().map_or(0.0, |data| data.len() as f64);
    let is_table = |file: &&PathBuf| {
        file.extension()
            .is_some_and(|extension| extension == "sst" || extension == "db")
    };
    let tables: Vec<&PathBuf> = files.iter().filter(is_table).collect();
    match random.random_range(0..3) {
        0 => files.choose(random),
        1 if !tables.is_empty() => tables.choose(random).copied(),
        _ => files.choose_weighted(random, size).ok(),
    }
}

fn list(directory: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        match entry.file_type()? {
            kind if kind.is_dir() => list(&entry.path(), files)?,
            kind if kind.is_file() => files.push(entry.path()),
            _ => {}
        }
    }
    Ok(())
}

/// Bytes up to the last one that is not zero.
fn written(file: &mut std::fs::File) -> anyhow::Result<u64> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last as u64 + 1))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn as_many_bits_flip_as_are_told_and_never_in_what_is_only_zeroes() {
        let directory = tempfile::tempdir().unwrap();
        let (full, empty) = (directory.path().join("000001.log"), directory.path().join("0.tmp"));
        let before = vec![7; 300];
        for seed in 0..200 {
            // Filled ahead; the other one with nothing else.
            let mut written = before.clone();
            written.resize(4096, 0);
            std::fs::write(&full, &written).unwrap();
            std::fs::write(&empty, vec![0; 1 << 20]).unwrap();
            flip_below(directory.path(), &mut StdRng::seed_from_u64(seed)).unwrap();
            let after = std::fs::read(&full).unwrap();
            let flipped: u32 = written.iter().zip(&after).map(|(a, b)| (a ^ b).count_ones()).sum();
            assert_eq!((flipped as usize, after.len()), (FLIPS, written.len()), "seed {seed}");
            assert!(after[300..].iter().all(|byte| *byte == 0));
        }
        std::fs::write(&full, vec![0; 4096]).unwrap();
        assert!(flip_below(directory.path(), &mut StdRng::seed_from_u64(1)).is_err());
    }
}
