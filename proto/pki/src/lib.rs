//! Keys, certificates and TLS configurations.
//!
//! A cluster has one certificate authority per trust domain, as kubeadm lays them out. [`Ca`] issues leaf certificates
//! from it and grants the requests of [`csr`], [`tls`] turns files into rustls configurations whose own certificate is re-read
//! when its file changes, [`kubeadm`] knows which files a master and a node need, [`jwt`] signs and verifies service-account
//! tokens, and [`jws`] what bootstrap tokens vouch for. A machine that joins knows an authority by its [`pin`], gets what only
//! masters have under a [`seal`], and [`again`] renews what was issued.
//!
//! Promises: private keys are written with mode 0600 and never logged; a file that is replaced is replaced whole
//! (write, sync, rename), so a reader sees the old certificate or the new one.
//!
//! Left out: CA rotation with a trust bundle, and who decides when to renew. A changed
//! *CA* file needs a restart; a changed leaf certificate does not.

pub mod again;
mod ca;
pub mod csr;
mod der;
mod error;
mod files;
pub mod jws;
pub mod jwt;
pub mod kubeadm;
pub mod pin;
pub mod seal;
pub mod tls;

pub use ca::{Ca, Identity, Leaf, certificate_expiry, is_issued_by, pem_expiry, pem_validity};
pub use error::Error;
pub use files::{write_private, write_public};

/// How long a CA certificate is valid, in days: ten years, as kubeadm's.
pub const CA_VALIDITY_DAYS: i64 = 3650;

/// How long a leaf certificate is valid unless its [`Leaf`] says otherwise, in days: one year, as kubeadm's.
pub const LEAF_VALIDITY_DAYS: i64 = 365;
