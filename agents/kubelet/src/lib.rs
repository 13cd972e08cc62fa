//! The node agent.
pub mod config;
pub mod cri;
mod error;
pub mod image;
pub mod limits;
pub use config::Config;
pub use error::Error;
