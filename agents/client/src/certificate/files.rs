//! The files of one certificate: the pair in use and, during a renewal, the next one beside it.

use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::Error;

/// Where a certificate and its key are.
#[derive(Debug, Clone)]
pub struct Files {
    cert: PathBuf,
    key: PathBuf,
}

impl Files {
    /// The pair in use; what is next gets the same names with `.next` appended.
    pub fn new(cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Files {
        Files {
            cert: cert.into(),
            key: key.into(),
        }
    }

    /// From when to when the certificate is valid; `None` if there is none that is for its key.
    pub fn validity(&self) -> Option<(SystemTime, SystemTime)> {
        let (cert, key) = (
            fs::read_to_string(&self.cert).ok()?,
            fs::read_to_string(&self.key).ok()?,
        );
        pki::pem_validity(&cert)
            .ok()
            .filter(|_| pki::csr::is_for_key(&cert, &key))
    }

    /// Whether the certificate in use is for its key and was issued by the authority in the file `ca`.
    pub fn is_issued_by(&self, ca: &Path) -> bool {
        let (cert, ca) = (fs::read_to_string(&self.cert), fs::read_to_string(ca));
        let issued = matches!((cert, ca), (Ok(cert), Ok(ca)) if pki::is_issued_by(&cert, &ca));
        issued && self.validity().is_some()
    }

    /// Finishes a replacement that was under way: once the next certificate is there, it and its key take their places, the key
    /// first. Where the key is not next any more, it either has, or is lost, and the certificate with it.
    pub fn settle(&self) -> Result<(), Error> {
        let (cert, key) = (next(&self.cert), next(&self.key));
        if !cert.exists() {
            return Ok(());
        }
        let moved = match fs::rename(&key, &self.key) {
            Ok(()) => true,
            Err(error) if error.kind() == ErrorKind::NotFound => self.belongs(&cert),
            Err(error) => return Err(self.failed(error)),
        };
        let finished = if moved {
            fs::rename(&cert, &self.cert)
        } else {
            fs::remove_file(&cert)
        };
        finished.map_err(|error| self.failed(error))
    }

    /// Whether the certificate at `cert` is for the key in use.
    fn belongs(&self, cert: &Path) -> bool {
        let (cert, key) = (fs::read_to_string(cert), fs::read_to_string(&self.key));
        matches!((cert, key), (Ok(cert), Ok(key)) if pki::csr::is_for_key(&cert, &key))
    }

    /// The key of a renewal that is under way.
    pub(super) fn next_key(&self) -> Option<String> {
        fs::read_to_string(next(&self.key)).ok()
    }

    /// Before anything is asked: a request whose key is lost is of no use to anybody.
    pub(super) fn keep_next_key(&self, pem: &str) -> Result<(), Error> {
        pki::write_private(&next(&self.key), pem).map_err(|error| self.failed(error))
    }

    pub(super) fn forget_next_key(&self) -> Result<(), Error> {
        match fs::remove_file(next(&self.key)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(self.failed(error)),
            _ => Ok(()),
        }
    }

    /// Puts the certificate for the next key, and that key, in place.
    pub(super) fn replace(&self, cert_pem: &str) -> Result<(), Error> {
        pki::write_public(&next(&self.cert), cert_pem).map_err(|error| self.failed(error))?;
        self.settle()
    }

    pub(super) fn failed(&self, reason: impl ToString) -> Error {
        Error::Certificate {
            certificate: self.to_string(),
            reason: reason.to_string(),
        }
    }
}

impl fmt::Display for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cert.display().fmt(f)
    }
}

fn next(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".next");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two pairs of one authority: (certificate, key).
    fn pairs() -> [(String, String); 2] {
        let ca = pki::Ca::generate("x").unwrap();
        let leaf = pki::kubeadm::client("a", "");
        [(); 2].map(|()| ca.issue(&leaf).map(|pair| (pair.cert_pem, pair.key_pem)).unwrap())
    }

    #[test]
    fn a_replacement_is_finished_from_wherever_it_stopped() {
        let [old, new] = pairs();
        for stopped_after in 0..4 {
            let directory = tempfile::tempdir().unwrap();
            let files = Files::new(directory.path().join("a.crt"), directory.path().join("a.key"));
            fs::write(&files.cert, &old.0).unwrap();
            fs::write(&files.key, &old.1).unwrap();
            files.keep_next_key(&new.1).unwrap();
            if stopped_after > 0 {
                pki::write_public(&next(&files.cert), &new.0).unwrap();
            }
            if stopped_after > 1 {
                fs::rename(next(&files.key), &files.key).unwrap();
                assert_eq!(files.validity(), None, "certificate and key do not belong together");
            }
            if stopped_after > 2 {
                fs::rename(next(&files.cert), &files.cert).unwrap();
            }
            files.settle().unwrap();
            let wanted = if stopped_after == 0 { &old } else { &new };
            assert_eq!(&fs::read_to_string(&files.cert).unwrap(), &wanted.0, "{stopped_after}");
            assert_eq!(&fs::read_to_string(&files.key).unwrap(), &wanted.1, "{stopped_after}");
            assert!(files.validity().is_some());
            assert_eq!(files.next_key().is_some(), stopped_after == 0);
        }
    }

    #[test]
    fn a_certificate_whose_key_was_lost_takes_nobodys_place() {
        let [old, new] = pairs();
        let directory = tempfile::tempdir().unwrap();
        let files = Files::new(directory.path().join("a.crt"), directory.path().join("a.key"));
        fs::write(&files.cert, &old.0).unwrap();
        fs::write(&files.key, &old.1).unwrap();
        fs::write(next(&files.cert), &new.0).unwrap();
        files.settle().unwrap();
        assert!(files.validity().is_some() && !next(&files.cert).exists());
    }
}
