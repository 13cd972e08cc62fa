//! The `nameserver` lines of a resolv.conf. Pure.

use std::net::{IpAddr, SocketAddr};

use crate::limits;

/// The servers, in order, without those we listen on ourselves: asking ourselves would never end.
pub fn servers(text: &str, own: &[SocketAddr]) -> Vec<SocketAddr> {
    let addresses = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let is_server = words.next() == Some("nameserver");
        words.next().filter(|_| is_server)?.parse::<IpAddr>().ok()
    });
    let servers = addresses
        .map(|address| SocketAddr::new(address, 53))
        .filter(|server| !own.contains(server));
    servers.take(limits::UPSTREAM_SERVERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_options_nonsense_and_ourselves_are_passed_over() {
        let text = "# nameserver 9.9.9.9\nsearch example.com\nnameserver 10.96.0.10\n\tnameserver 192.0.2.1 \n\
                    nameserver nonsense\nnameserver\noptions ndots:5\nnameserver 2001:db8::1\nnameserver 192.0.2.2\n\
                    nameserver 192.0.2.3\n";
        let own = ["10.96.0.10:53".parse().unwrap()];
        let found: Vec<String> = servers(text, &own).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["192.0.2.1:53", "[2001:db8::1]:53", "192.0.2.2:53"]);
    }
}
