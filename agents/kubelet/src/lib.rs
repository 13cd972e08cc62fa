//! The node agent.
pub mod config;
pub mod containerd;
pub mod cri;
mod error;
mod events;
pub mod image;
pub mod limits;
pub mod log;
pub mod objects;
pub mod pod;
pub mod probe;
pub mod relist;
pub mod volume;
pub use config::Config;
pub use error::Error;
