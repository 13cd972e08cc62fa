//! The service proxy: services and endpoints to one nftables ruleset.
