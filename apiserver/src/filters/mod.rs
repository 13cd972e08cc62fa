//! The steps of the chain around the endpoints. Their order is in [`crate::chain`], not here.

pub(crate) mod authenticate;
pub(crate) mod compress;
pub(crate) mod headers;
pub(crate) mod impersonate;
pub(crate) mod in_flight;
pub(crate) mod panics;
pub(crate) mod timeout;
