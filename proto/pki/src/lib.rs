//! Keys, certificates, pins and TLS configurations that reload themselves.
